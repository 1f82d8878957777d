"""Stand-ins for tests of teacher, generate and label: a saved CLIP, a data stage, a generator."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import torch

from compress.data.split import ClassInfo
from compress.engine.seeds import derive
from compress.engine.store import Artifact
from compress.generate.generators.generator import Generator, Sampling
from compress.generate.jobs import Job
from compress.generate.sources import Sources
from compress.teacher.clip import ClipTeacher

EDGE, CLASSES = 8, 3  # of the data stage: pixels, classes
VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
MODEL = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}
SIGLIP_TEXT = {**TEXT, "no_causal_mask": True, "pool_type": "last", "proj_bias": True}
SIGLIP = {
    "embed_dim": 24,
    "init_logit_scale": 2.3,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": VISION,
    "text_cfg": SIGLIP_TEXT,
}
PREPROCESS = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
    "interpolation": "bilinear",
    "resize_mode": "shortest",
}


def save_folder(
    path: Path, config: dict, weights: str = "open_clip_model.safetensors"
) -> torch.nn.Module:
    """A random model in open_clip's own format."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    config = json.loads(json.dumps(config))
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    model = kind(**config).eval()
    path.mkdir(parents=True, exist_ok=True)
    custom = {"custom_text": True} if kind is open_clip.CustomTextCLIP else {}
    about = {"model_cfg": {**config, **custom}, "preprocess_cfg": PREPROCESS}
    (path / "open_clip_config.json").write_text(json.dumps(about))
    if weights.endswith(".safetensors"):
        save_file(model.state_dict(), path / weights)
    else:
        torch.save(model.state_dict(), path / weights)
    return model


def write_data(folder: Path, shots: int) -> Artifact:
    """A data stage with random pictures. It has no test images: nobody may ask for them."""
    folder.mkdir(parents=True)
    count = shots * CLASSES
    pixels = np.random.default_rng(3).integers(0, 255, (count, EDGE, EDGE, 3), dtype=np.uint8)
    np.save(folder / "shots.npy", pixels)
    names = ("rose", "oak", "daisy")
    (folder / "classes.json").write_text(
        json.dumps([{"name": n, "prompt": n, "category": None} for n in names])
    )
    (folder / "shots.json").write_text(
        json.dumps([{"key": f"train/{i}", "label": i // shots} for i in range(count)])
    )
    return Artifact("data", folder, {}, "content")


def write_index(folder: Path, pipeline: str) -> Path:
    """A folder that says which pipeline of diffusers it is, without weights."""
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    return folder


def sources(shots: int, classes: int = 3, seed: int = 5, cache: Path | None = None) -> Sources:
    """Random shots of classes called "name 0" and so on."""
    pixels = np.random.default_rng(seed).integers(
        0, 255, (shots * classes, 4, 4, 3), dtype=np.uint8
    )
    labels = np.repeat(np.arange(classes), shots)
    entries = [ClassInfo(f"c{i}", f"name {i}") for i in range(classes)]
    keys = [f"train/{i}" for i in range(shots * classes)]

    def teacher() -> ClipTeacher:
        raise AssertionError("these sources have no teacher")

    return Sources(entries, pixels, labels, keys, seed, teacher, cache=cache)


def jobs(classes: int = 3, numbers: int = 6, seed: int = 5) -> list[Job]:
    """The first jobs of a run: number by number, class by class."""
    pairs = itertools.product(range(numbers), range(classes))
    return [Job(i, c, j, derive(seed, "generate", c, j)) for i, (j, c) in enumerate(pairs)]


class Echo(Generator):
    """A generator whose image shows its embedding: cheap, and exact enough to see leaks."""

    name, image_size, embed_dim, license = "echo", 4, 6, "none"
    takes = frozenset({"text", "image"})

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []
        self.noise_levels: list[int] = []
        self.prior_seeds: list[list[int]] = []
        self.texts: list[str] = []

    def fingerprint(self) -> str:
        return "echo"

    def embed_images(self, images: np.ndarray) -> np.ndarray:
        self.seen.append(images)
        return images.reshape(len(images), -1)[:, :6].astype(np.float32)

    def embed_texts(self, texts: list[str], seeds: list[int]) -> np.ndarray:
        self.texts += list(texts)
        self.prior_seeds.append(list(seeds))
        return np.stack([np.random.default_rng(seed).random(6, np.float32) for seed in seeds])

    def decode(self, embeds: np.ndarray, seeds: list[int], sampling: Sampling) -> np.ndarray:
        self.noise_levels.append(sampling.noise_level)
        noise = np.stack([np.random.default_rng(seed).random((4, 4, 3)) for seed in seeds])
        return np.clip(embeds.mean(1)[:, None, None, None] * 0.5 + noise * 100, 0, 255).astype(
            np.uint8
        )

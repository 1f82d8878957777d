"""Phase ``evaluate``: figures of the shipped files on the 32 held-out species, and their gates.

All accuracies are top-1 shares of the 1,280 test pictures (40 a species), so one standard error is
about 1.3 points.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.petals_training.captions import TEMPLATES, class_prompts
from benchmarks.petals_training.flowers import render_split
from benchmarks.petals_training.train_vq import CODES, load_vq
from compress.engine.errors import TrainingError
from compress.engine.seeds import derive, numpy_rng
from compress.petals import attributes as at
from compress.petals.generator import PetalsGenerator
from compress.petals.nets import EMBED_DIM, PetalCNN, pixels
from compress.petals.weights import WEIGHTS, load_student_clip, load_teacher
from compress.petals.world import GENUS_SIZE, SPECIES, render_species

PROTOTYPE_DRAWS = 5
GENERATED_PER_SPECIES = 6
MAX_BYTES = 15_000_000

# metric path -> (least, most); train.py refuses weights outside, and a test checks the shipped ones
GATES: dict[str, tuple[float, float]] = {
    "teacher.zero_shot_names": (0.55, 0.85),
    "teacher.attributes_from_prompts.count": (0.60, 1.0),
    "teacher_minus_student.zero_shot_names": (0.001, 1.0),
    "teacher_minus_student.zero_shot_captions": (0.001, 1.0),
    "prototypes.gain_from_1_to_8_shots": (0.001, 1.0),
    "student.share_of_teacher_parameters": (0.0, 0.10),
    "bytes": (1, MAX_BYTES),
}


@torch.no_grad()
def measure(folder: Path = WEIGHTS) -> dict[str, Any]:
    """Every figure of metrics.json, from the files in ``folder``."""
    teacher, tokenizer = load_teacher(folder)
    student, projection = _student(folder)

    def embed(images: np.ndarray) -> Tensor:
        return _embed(teacher.encode_image, images)

    def embed_small(images: np.ndarray) -> Tensor:
        return _embed(lambda x: student(x) @ projection.T, images)

    def embed_texts(texts: list[str]) -> Tensor:
        return functional.normalize(teacher.encode_text(tokenizer(texts)), dim=-1)

    tests = {style: render_split("test", style) for style in at.STYLES}
    images = tests["photo"][0]
    labels = torch.from_numpy(tests["photo"][1])
    features = embed(images)
    small_features = embed_small(images)
    names = embed_texts(class_prompts())
    captions = embed_texts(class_prompts(complete=True))
    image_parameters = sum(p.numel() for p in teacher.visual.parameters())
    teacher_facts = {
        "parameters": sum(p.numel() for p in teacher.parameters()),
        "image_parameters": image_parameters,
        "zero_shot_names": top1(features @ names.T, labels),
        "zero_shot_captions": top1(features @ captions.T, labels),
        "attributes_from_prompts": _attributes_from_prompts(features, labels, embed_texts),
        "logit_scale": teacher.logit_scale.exp().item(),
    }
    size = sum(p.numel() for p in student.parameters()) + projection.numel()
    student_facts = {
        "parameters": size,
        "share_of_teacher_parameters": size / image_parameters,
        "zero_shot_names": top1(small_features @ names.T, labels),
        "zero_shot_captions": top1(small_features @ captions.T, labels),
    }
    return _rounded(
        {
            "teacher": teacher_facts,
            "student": student_facts,
            "teacher_minus_student": {
                name: teacher_facts[name] - student_facts[name]
                for name in ("zero_shot_names", "zero_shot_captions")
            },
            "prototypes": _prototypes(embed, features, labels),
            "styles": {
                style: _style(style, embed(pictures), labels, embed_texts)
                for style, (pictures, _) in tests.items()
            },
            "generator": _generated(folder, embed, embed_texts),
            "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        }
    )


@torch.no_grad()
def measure_vq(folder: Path = WEIGHTS) -> dict[str, float]:
    """How true reconstructions of test photos (8 a species) are, and the share of codes in use.

    ``psnr_db`` of the pixels, ``teacher_cosine`` of the teacher's features.
    """
    model = load_vq(folder)
    (teacher, _) = load_teacher(folder)
    rows = [(species, index) for species in range(len(SPECIES)) for index in range(8)]
    images = pixels(render_species([row[0] for row in rows], "test", [row[1] for row in rows]))
    latents = model.encode(images).latents
    _, _, (_, _, codes) = model.quantize(latents)
    decoded = model.decode(latents).sample.clamp(-1, 1)
    errors = ((decoded - images) / 2).square().mean((1, 2, 3))
    features = [teacher.encode_image(pictures) for pictures in (decoded, images)]
    cosine = functional.cosine_similarity(*features)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "psnr_db": round((-10 * errors.log10()).mean().item(), 2),
        "teacher_cosine": round(cosine.mean().item(), 4),
        "codes_used": round(len(codes.unique()) / CODES, 4),
    }


def require(metrics: Mapping[str, Any]) -> None:
    """Raises TrainingError that names every gate ``metrics`` do not pass."""
    missed = []
    for path, (least, most) in GATES.items():
        value: Any = metrics
        for part in path.split("."):
            value = value[part]
        if not least <= value <= most:
            missed.append(f"{path} = {value}, not in [{least}, {most}]")
    if missed:
        raise TrainingError(
            "the weights do not pass their gates",
            got="; ".join(missed),
            remedy="train the phase concerned for longer",
        )


def top1(scores: Tensor, labels: Tensor) -> float:
    """Share of rows of ``scores`` (N, K) whose largest entry is at ``labels`` (N,)."""
    return (scores.argmax(1) == labels).float().mean().item()


def _student(folder: Path) -> tuple[PetalCNN, Tensor]:
    state = load_student_clip(folder)
    trunk = PetalCNN()
    trunk.load_state_dict(
        {name.removeprefix("trunk."): t for name, t in state.items() if name.startswith("trunk.")}
    )
    return trunk.eval(), state["proj.weight"]


def _embed(tower: Any, images: np.ndarray) -> Tensor:
    parts = [pixels(images[start : start + 256]) for start in range(0, len(images), 256)]
    return functional.normalize(torch.cat([tower(part) for part in parts]), dim=-1)


def _attributes_from_prompts(
    features: Tensor, labels: Tensor, embed_texts: Any
) -> dict[str, float]:
    """Per attribute: how often the right caption wins among those that differ only in it."""
    shares = {}
    for column, name in enumerate(at.NAMES):
        right = 0
        for number, species in enumerate(SPECIES):
            rows = [list(species.attributes) for _ in range(at.CARDINALITIES[column])]
            for value, row in enumerate(rows):
                row[column] = value
            texts = embed_texts([TEMPLATES["photo"][0].format(at.noun_phrase(row)) for row in rows])
            scores = features[labels == number] @ texts.T
            right += int((scores.argmax(1) == species.attributes[column]).sum())
        shares[name] = right / len(labels)
    return shares


def _prototypes(embed: Any, features: Tensor, labels: Tensor) -> dict[str, float]:
    """Nearest mean of k training embeddings, over draws of the k shots."""
    images, _ = render_split("train")
    train = embed(images).view(len(SPECIES), -1, EMBED_DIM)
    shares: dict[str, float] = {}
    for shots in (1, 4, 8):
        scores = []
        for draw in range(PROTOTYPE_DRAWS):
            rng = numpy_rng(0, "embedded", "prototypes", shots, draw)
            drawn = torch.from_numpy(rng.permutation(train.shape[1])[:shots])
            means = functional.normalize(train[:, drawn].mean(1), dim=-1)
            scores.append(top1(features @ means.T, labels))
        shares[f"shots_{shots}"] = float(np.mean(scores))
    shares["gain_from_1_to_8_shots"] = shares["shots_8"] - shares["shots_1"]
    return shares


def _style(style: str, features: Tensor, labels: Tensor, embed_texts: Any) -> dict[str, float]:
    """Zero-shot in one style, with that style's own template."""
    names = features @ embed_texts(class_prompts(style)).T
    captions = features @ embed_texts(class_prompts(style, complete=True)).T
    genus = names.argmax(1) // GENUS_SIZE == labels // GENUS_SIZE
    return {
        "names": top1(names, labels),
        "captions": top1(captions, labels),
        "genus": genus.float().mean().item(),
    }


def _generated(folder: Path, embed: Any, embed_texts: Any) -> dict[str, float]:
    """How true generated images are to their conditions, by the teacher and 64-shot prototypes."""
    generator = PetalsGenerator(folder)
    images, _ = render_split("train")
    features = embed(images).view(len(SPECIES), -1, EMBED_DIM)
    prototypes = functional.normalize(features.mean(1), dim=-1)
    owners = torch.arange(len(SPECIES)).repeat_interleave(GENERATED_PER_SPECIES)
    seeds = [derive(0, "embedded", "evaluate", i) for i in range(len(owners))]
    conditions = features[:, 0].repeat_interleave(GENERATED_PER_SPECIES, 0)
    generated = embed(generator.decode(conditions, seeds))
    prompts = [prompt for prompt in class_prompts() for _ in range(GENERATED_PER_SPECIES)]
    drawn = generator.embed_texts(prompts, seeds)
    from_text = embed(generator.decode(drawn, seeds))
    return {
        "cosine_to_condition": (generated * conditions).sum(1).mean().item(),
        "agreement_image": top1(generated @ prototypes.T, owners),
        "agreement_text": top1(from_text @ prototypes.T, owners),
        "agreement_of_conditions_image": top1(conditions @ prototypes.T, owners),
        "agreement_of_conditions_text": top1(drawn @ prototypes.T, owners),
        "cosine_text_to_image": (embed_texts(class_prompts()) * prototypes).sum(1).mean().item(),
        "cosine_prior_to_image": (drawn * prototypes[owners]).sum(1).mean().item(),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return round(value, 4) if isinstance(value, float) else value

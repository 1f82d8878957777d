"""Small models and finished stages that several tests share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from synthetic_records import PLAIN, write_records
from torch import Tensor, nn

from compress.distill.students import StudentSpec, build
from compress.engine.config import Settings, resolve
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.quantize.graph import PreparedStudent, prepare
from compress.quantize.scales import calibrate, set_observers

SIZE, CLASSES = 32, 20


class TinyCNN(nn.Module):
    """Every pattern of the quantizer: conv-bn-relu, max pool, residual, depthwise, cosine head."""

    def __init__(
        self, width: int = 24, embed: int = 32, classes: int = CLASSES, eps: float = 1e-3
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16, eps=eps), nn.ReLU()
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.side = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16, eps=eps)
        )
        self.deep = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False),
            nn.BatchNorm2d(16, eps=eps),
            nn.ReLU6(),
        )
        self.last = nn.Sequential(
            nn.Conv2d(16, width, 1, bias=False), nn.BatchNorm2d(width, eps=eps), nn.ReLU()
        )
        self.drop = nn.Dropout(0.5)
        self.proj = nn.Linear(width, embed)
        self.head = nn.Linear(embed, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.pool(self.stem(images))
        maps = self.last(self.deep(F.relu(pooled + self.side(pooled))))
        features = F.normalize(self.proj(self.drop(maps.mean((2, 3)))), dim=-1)
        return 20 * F.linear(features, F.normalize(self.head.weight, dim=-1))


def images(count: int, size: int = SIZE, seed: int = 1) -> Tensor:
    """Smooth colored noise ``(count, 3, size, size)``, about as varied as photos."""
    rng = torch.Generator().manual_seed(seed)
    coarse = F.interpolate(
        torch.randn(count, 3, 5, 5, generator=rng), size=(size, size), mode="bicubic"
    )
    return coarse + 0.3 * torch.randn(count, 3, size, size, generator=rng)


def settled(model: nn.Module, size: int = SIZE) -> nn.Module:
    """``model`` in eval mode with batch statistics of inputs, so that activations have a range."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
    with torch.no_grad():
        for seed in range(4):
            model(images(24, size, seed=100 + seed))
    return model.eval()


def perturbed(model: nn.Module, scale: float = 0.2) -> None:
    """Moves the weights away from their zeros, as training does."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))


def tiny_cnn(seed: int = 0) -> TinyCNN:
    torch.manual_seed(seed)
    model = settled(TinyCNN())
    assert isinstance(model, TinyCNN)
    return model


def quantized(model: nn.Module, size: int = SIZE) -> PreparedStudent:
    """``model`` prepared, calibrated and frozen."""
    prepared = prepare(model, images(2, size))
    calibrate(prepared, images(64, size))
    set_observers(prepared, observe=False, quantize=True)
    return prepared


def stage_context(tmp_path: Path, stage: str, **sections: dict[str, Any]) -> StageContext:
    """A context for ``stage`` behind small finished stages: real files, random content."""
    root = tmp_path / "inputs"
    if not root.exists():
        _make_inputs(root)
    teacher = {"name": str(root / "open_clip")}
    defaults: dict[str, dict[str, Any]] = {
        "image": {"size": SIZE, "crop_pct": 1.0},
        "teacher": teacher,
        "label": {"views": 2},
        "distill": {"student": "test_resnet", "init": "random", "batch": 16},
        "quantize": {"steps": 6, "calibration_images": 48, "checkpoint_every": 2},
        "export": {"parity_images": 12},
    }
    settings: Settings = resolve(defaults, sections)
    inputs = {
        path.name: Artifact(
            path.name,
            path,
            json.loads((path / "facts.json").read_text()),
            content=f"content of {path.name}",
        )
        for path in sorted(root.iterdir())
        if (path / "facts.json").exists()
    }
    folder = tmp_path / stage
    folder.mkdir(exist_ok=True)
    return StageContext(settings, inputs, folder, seed=3)


def _make_inputs(root: Path) -> None:
    from safetensors.torch import save_file

    from compress.distill.artifact import DistillArtifact

    rng, classes, shots, made, dim, views = np.random.default_rng(0), 5, 2, 6, 16, 2
    facts: dict[str, dict[str, Any]] = {
        "data": {"name": "tiny"},
        "teacher": {"license": "MIT"},
        "generate": {},
        "label": {},
        "distill": {"params": 1},
    }
    for name, values in facts.items():
        (root / name).mkdir(parents=True)
        (root / name / "facts.json").write_text(json.dumps(values))

    def pictures(count: int) -> np.ndarray:
        plain = images(count, SIZE, seed=int(rng.integers(1000))).permute(0, 2, 3, 1).numpy()
        return (plain * 50 + 128).clip(0, 255).astype(np.uint8)

    def lines(count: int, key: str) -> list[dict[str, Any]]:
        return [{"key": f"{index}", key: index % classes} for index in range(count)]

    data, generate = root / "data", root / "generate"
    rows = [
        {"name": f"class {index}", "prompt": f"a class {index}", "category": "thing"}
        for index in range(classes)
    ]
    (data / "classes.json").write_text(json.dumps(rows))
    np.save(data / "shots.npy", pictures(classes * shots))
    np.save(data / "test.npy", pictures(24))
    (data / "test.json").write_text(json.dumps(lines(24, "label")))
    (data / "shots.json").write_text(json.dumps(lines(classes * shots, "label")))
    np.save(generate / "synthetic.npy", pictures(classes * made))
    records = [
        replace(PLAIN, class_id=index % classes, style_id=index // classes % 3)
        for index in range(classes * made)
    ]
    write_records(generate, records)
    np.save(generate / "conditions.npy", rng.normal(size=(classes * made, 12)).astype(np.float16))
    np.save(
        generate / "source_conditions.npy",
        rng.normal(size=(classes * shots, 12)).astype(np.float32),
    )

    torch.manual_seed(0)
    unit = F.normalize(torch.randn(classes, dim), dim=-1)
    heads = {
        "zero_shot": unit,
        "probe": F.normalize(torch.randn(classes, dim), dim=-1),
        "logit_scale": torch.tensor(20.0),
    }
    save_file(heads, root / "teacher" / "heads.safetensors")
    targets: dict[str, Tensor] = {"keep": torch.ones(classes * made, dtype=torch.bool)}
    for kind, count in (("real", classes * shots), ("synthetic", classes * made)):
        targets[f"{kind}_features"] = F.normalize(torch.randn(count, views, dim), dim=-1).half()
        targets[f"{kind}_logits"] = 4 * torch.randn(count, views, classes)
    save_file(targets, root / "label" / "targets.safetensors")
    pools = {"real": {"views": views}, "synthetic": {"views": views}}
    (root / "label" / "views.json").write_text(json.dumps({"pools": pools}))

    spec = StudentSpec("test_resnet", classes, None, SIZE, (0.5,) * 3, (0.5,) * 3, "random")
    student = build(spec)
    settled(student)
    DistillArtifact(root / "distill").write_student(student)
    _make_teacher(root / "open_clip")


def _make_teacher(folder: Path) -> None:
    """A tiny CLIP with a transformer tower, in open_clip's folder format."""
    import open_clip
    from safetensors.torch import save_file

    vision = {"image_size": SIZE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    folder.mkdir()
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    model = open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text)
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )


def student(arch: str, size: int, classes: int = 20, power_norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    embed = 64 if arch == "petal_cnn" else None
    spec = StudentSpec(arch, classes, embed, size, (0.5,) * 3, (0.5,) * 3, "random")
    return build(replace(spec, power_norm=power_norm)).eval()

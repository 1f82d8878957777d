"""The VQModel of the embedded decoder: the shipped one, and the phase that trains it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.petals_training.evaluate import measure_vq
from benchmarks.petals_training.phase import Phase
from benchmarks.petals_training.train_vq import (
    CODES,
    FOLDER,
    load_vq,
    new_vq,
    rescale,
    restart,
    save_vq,
    train_vq,
)
from compress.petals.weights import WEIGHTS, load_teacher, read_json


def test_it_is_small_and_its_codebook_has_unit_spread() -> None:
    model = load_vq()
    assert sum(p.numel() for p in model.parameters()) < 600_000
    assert sum(path.stat().st_size for path in (WEIGHTS / FOLDER).iterdir()) < 1_300_000
    assert model.quantize.embedding.weight.std().item() == pytest.approx(1, abs=1e-2)
    assert model.decode(torch.zeros(1, 4, 8, 8)).sample.shape == (1, 3, 32, 32)


def test_flowers_it_never_saw_stay_what_they_are() -> None:
    found = measure_vq()
    assert found["psnr_db"] > 19
    assert found["teacher_cosine"] > 0.75, (
        "between the teacher's features of a photo and of its reconstruction"
    )
    assert found["codes_used"] > 0.9
    assert read_json(WEIGHTS / "metrics.json")["decoder"] == pytest.approx(found, abs=0.02)


def test_rescaling_changes_the_latents_and_no_image() -> None:
    torch.manual_seed(0)
    model = new_vq().eval()
    torch.nn.init.normal_(model.quantize.embedding.weight, std=0.2)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        before, latents = model(images).sample, model.encode(images).latents
        rescale(model)
        torch.testing.assert_close(model(images).sample, before, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(model.encode(images).latents, latents)
    assert model.quantize.embedding.weight.std().item() == pytest.approx(1)


def test_only_idle_codes_move_and_onto_latents() -> None:
    codebook, latents = torch.zeros(4, 2), torch.arange(1.0, 13).view(6, 2)
    restart(codebook, torch.tensor([3, 0, 1, 0]), latents)
    assert codebook[[0, 2]].abs().sum() == 0
    assert {tuple(row) for row in codebook[[1, 3]].tolist()} <= {
        tuple(row) for row in latents.tolist()
    }


def test_the_phase_learns_and_what_it_saves_loads(tmp_path: Path) -> None:
    flat = np.random.default_rng(0).integers(0, 255, (64, 1, 1, 3), dtype=np.uint8)
    pictures = SimpleNamespace(images=np.tile(flat, (1, 32, 32, 1)))
    phase = Phase("vq", 0, "cpu", tmp_path / "log.jsonl", every=0)
    model = train_vq(phase, pictures, load_teacher()[0], 64 * 10)
    errors = [
        float(line.split('"mse": ')[1].split(",")[0])
        for line in (tmp_path / "log.jsonl").read_text().splitlines()
    ]
    assert len(errors) == 10
    assert errors[-1] < errors[0]
    assert model.quantize.embedding.weight.shape == (CODES, 4)
    expected = model.quantize.embedding.weight.detach().half().float()
    save_vq(model, tmp_path)
    assert torch.equal(load_vq(tmp_path).quantize.embedding.weight, expected)
    assert {path.suffix for path in (tmp_path / FOLDER).iterdir()} == {".json", ".safetensors"}

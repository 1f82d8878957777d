"""FLOPs of generated images against torch's count of the real adapters while they run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
from tiny_pipelines import save_kandinsky, save_stable_diffusion, save_unclip
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from compress.cost.generators import ImageCost, image_cost
from compress.engine.config import GenerateSettings, PromptSettings
from compress.generate.generators.generator import Sampling
from compress.generate.generators.table import load_generator

PICTURES = np.zeros((2, 20, 20, 3), np.uint8)


def ran(call: Callable[[], Any]) -> int:
    """FLOPs of a call on this CPU, its attention by plain products."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        call()
    return int(counter.get_total_flops())


def settings(**values: Any) -> GenerateSettings:
    return GenerateSettings(**{"steps": 3, "prior_steps": 2, "batch": 2, **values})


def cost(given: GenerateSettings) -> ImageCost:
    found = image_cost(given, "petals")
    assert found is not None
    return found


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_kandinsky(tmp_path: Path, guidance: float) -> None:
    save_kandinsky(tmp_path / "tiny")
    given = settings(generator=str(tmp_path / "tiny"), height=32, guidance_scale=guidance)
    tool = load_generator(given)

    def make() -> None:
        shots = tool.embed_images(PICTURES)
        texts = tool.embed_texts(["a", "b"], [1, 2])
        tool.decode(shots + texts, [1, 2], Sampling(given.steps, guidance))

    assert ran(make) == cost(given).of(images=2, batch=2, shots=2)


@pytest.mark.parametrize("scheduler", [None, "DPMSolverMultistepScheduler"])
def test_stable_diffusion(tmp_path: Path, scheduler: str | None) -> None:
    save_stable_diffusion(tmp_path / "tiny")
    given = settings(generator=str(tmp_path / "tiny"), strategy="cls2img", scheduler=scheduler)
    tool = load_generator(given)
    seen = ran(lambda: tool.draw(["a", "b"], [1, 2], Sampling(given.steps, 4.0)))
    assert seen == cost(given).of(images=2, batch=2, shots=0)
    assert cost(given).width == 0


def test_unclip(tmp_path: Path) -> None:
    save_unclip(tmp_path / "tiny")
    given = settings(generator=str(tmp_path / "tiny"), strategy="img2img", height=32)
    tool = load_generator(given)

    def make() -> None:
        tool.decode(tool.embed_images(PICTURES), [1, 2], Sampling(given.steps, 4.0))

    assert ran(make) == cost(given).of(images=2, batch=2, shots=2)


@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_petals_pads_its_calls(guidance: float) -> None:
    given = settings(generator="petals", strategy="img2img", guidance_scale=guidance)
    tool = load_generator(given)

    def make() -> None:
        shots = tool.embed_images(PICTURES)
        tool.decode(shots, [1, 2], Sampling(given.steps, guidance))

    found = cost(given)
    assert ran(make) == found.of(images=2, batch=2, shots=2)
    assert found.of(2, 2, 0) == found.of(32, 32, 0) == 32 * found.flops
    assert found.width == 128 and cost(settings(generator="petals", strategy="cls2img")).width == 0


def test_steps_size_and_guidance_of_kandinsky() -> None:
    """The knobs that decide: half the steps, half the edge, no second pass."""
    base = cost(settings(generator="kandinsky-2.2", steps=50))
    assert cost(settings(generator="kandinsky-2.2", steps=25)).denoiser * 2 == base.denoiser
    small = cost(settings(generator="kandinsky-2.2", steps=50, height=256))
    assert 3.5 < base.denoiser / small.denoiser < 4.5
    plain = cost(settings(generator="kandinsky-2.2", steps=50, guidance_scale=1))
    assert plain.denoiser * 2 == base.denoiser and base.text and not plain.teacher


def test_pndm_calls_its_unet_once_more() -> None:
    base = "stable-diffusion-2.1-base"
    own = cost(settings(generator=base, strategy="cls2img"))
    other = cost(settings(generator=base, strategy="cls2img", scheduler="DDIMScheduler"))
    assert own.denoiser * 3 == other.denoiser * 4


def test_inversion_asks_the_teacher_at_every_step() -> None:
    given = settings(
        strategy="inversion", inversion={"decoder": "petals-vq", "image_size": 32, "steps": 5}
    )
    found = cost(given)
    assert found.teacher_calls == 5 * 8 and found.width == 128
    longer = cost(
        settings(
            strategy="inversion", inversion={"decoder": "petals-vq", "image_size": 32, "steps": 10}
        )
    )
    assert longer.teacher == 2 * found.teacher
    assert found.autoencoder * 21 == longer.autoencoder * 11  # 2 x steps, and the last image
    styled = cost(given.model_copy(update={"prompts": PromptSettings(kind="words")}))
    assert styled.teacher_calls == found.teacher_calls + 1
    assert found.teacher < styled.teacher < found.teacher * 1.02
    shared = cost(
        settings(
            strategy="inversion",
            inversion={
                "decoder": "petals-vq",
                "image_size": 32,
                "steps": 7,
                "snapshots": 3,
                "snapshot_steps": 4,
            },
        )
    )
    assert shared.teacher == found.teacher and shared.autoencoder == found.autoencoder
    pixels = cost(settings(strategy="inversion", inversion={"decoder": "pixels", "steps": 5}))
    assert pixels.autoencoder == 0 and pixels.teacher == found.teacher


def test_unknown_networks_have_no_cost(tmp_path: Path) -> None:
    assert image_cost(settings(generator="some/repository"), "petals") is None
    save_stable_diffusion(tmp_path / "tiny")
    (tmp_path / "tiny" / "vae" / "config.json").unlink()
    broken = settings(generator=str(tmp_path / "tiny"), strategy="cls2img")
    assert image_cost(broken, "petals") is None
    asked = settings(strategy="inversion", inversion={"decoder": "pixels"})
    assert image_cost(asked, "hf-hub:some/repository") is None

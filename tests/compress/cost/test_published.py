"""The published configs: as many parameters as the published files hold."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("diffusers")
from tiny_pipelines import save_stable_diffusion

from compress.cost.networks import count_clip, count_part
from compress.cost.published import decoder_config, generator_configs, published
from compress.engine.config import GenerateSettings
from compress.generate.generators.table import GENERATORS
from compress.teacher.sources import Tag

#: (generator, part) -> bytes of its published fp32 file, and to how many digits they are stated
FILES = {
    ("kandinsky-2.2", "unet"): (5.01e9, 0.005e9),  # unet/diffusion_pytorch_model.bin
    ("stable-diffusion-2.1", "unet"): (3.46e9, 0.005e9),
    ("stable-diffusion-2.1-base", "unet"): (3.46e9, 0.005e9),
    ("stable-diffusion-2.1-unclip", "unet"): (3.48e9, 0.005e9),
}
#: in Kandinsky's own README: prior 1 B, image encoder 1.8 B, MoVQ 67 M
MILLIONS = {"prior": (1000, 50), "image_encoder": (1800, 50), "movq": (67, 1)}


@pytest.mark.parametrize(("generator", "part"), FILES)
def test_a_unet_has_as_many_parameters_as_its_published_file(generator: str, part: str) -> None:
    size, tolerance = FILES[generator, part]
    counted = count_part(part, published()[generator]["parts"][part], 32)
    assert counted.params * 4 == pytest.approx(size, abs=tolerance)


def test_the_other_networks_of_kandinsky_have_the_stated_sizes() -> None:
    parts = published()["kandinsky-2.2"]["parts"]
    for part, (millions, tolerance) in MILLIONS.items():
        assert count_part(part, parts[part], 8).params / 1e6 == pytest.approx(
            millions, abs=tolerance
        )


@pytest.mark.parametrize(
    ("generator", "clip"),
    [
        ("kandinsky-2.2", "ViT-bigG-14"),
        ("stable-diffusion-2.1-unclip", "ViT-H-14"),
        ("stable-diffusion-2.1-unclip-small", "ViT-L-14"),
    ],
)
def test_image_encoders_are_those_of_open_clip(generator: str, clip: str) -> None:
    parts = published()[generator]["parts"]
    assert count_part("image_encoder", parts["image_encoder"]) == count_clip(Tag(clip, "x")).image


def test_the_text_encoder_of_kandinsky_is_that_of_open_clip() -> None:
    parts = published()["kandinsky-2.2"]["parts"]
    text = count_clip(Tag("ViT-bigG-14", "x")).text
    assert text and count_part("text_encoder", parts["text_encoder"]).flops == text.flops


def test_every_named_generator_is_known() -> None:
    for name in GENERATORS:
        configs = generator_configs(name)
        assert configs is not None and configs.kind == GENERATORS[name].kind
    assert generator_configs("some/repository") is None


def test_edges_of_latents_are_those_of_the_pipelines() -> None:
    kandinsky = generator_configs("kandinsky-2.2")
    plain = generator_configs("stable-diffusion-2.1")
    assert kandinsky and plain
    edges = [kandinsky.latent_edge(GenerateSettings(height=h)) for h in (None, 256, 320, 768)]
    assert edges == [64, 32, 40, 96]
    assert [plain.latent_edge(GenerateSettings(height=h)) for h in (None, 512)] == [96, 64]


def test_a_folder_says_it_itself(tmp_path: Path) -> None:
    save_stable_diffusion(tmp_path / "tiny")
    configs = generator_configs(str(tmp_path / "tiny"))
    assert configs and configs.kind == "stable_diffusion" and configs.scheduler == "DDIMScheduler"
    assert configs.parts["unet"]["block_out_channels"] == [32, 64]
    assert (configs.factor, configs.latent_edge(GenerateSettings(height=32))) == (2, 16)


def test_decoders() -> None:
    movq, small = decoder_config("movq"), decoder_config("petals-vq")
    assert movq and movq["num_vq_embeddings"] == 16384
    assert small and small["num_vq_embeddings"] == 512
    assert decoder_config("pixels") is None

"""Decoders: names, latents and gradients, and a saved VQModel loaded as the published one is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.engine.config import GenerateSettings, InversionSettings
from compress.engine.errors import ConfigError, DownloadError
from compress.generate.inversion import decoders
from compress.generate.inversion.decoder import Decoder, DecoderWeights
from compress.generate.inversion.decoders import (
    DECODERS,
    fingerprint,
    load_decoder,
    locate,
    missing,
)
from compress.generate.inversion.pixel_decoder import BOUND
from compress.generate.inversion.vq_decoder import ClampWithGradient, VqDecoder


def settings(decoder: str | Path, size: int = 16) -> GenerateSettings:
    return GenerateSettings(inversion=InversionSettings(decoder=str(decoder), image_size=size))


def tiny_vq(norm_type: str = "group") -> Any:
    from diffusers import VQModel

    torch.manual_seed(0)
    model = VQModel(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        latent_channels=4,
        num_vq_embeddings=16,
        up_block_types=("AttnUpDecoderBlock2D" if norm_type == "spatial" else "UpDecoderBlock2D",)
        * 2,
        norm_num_groups=4,
        norm_type=norm_type,
    )
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vq") / "movq"
    tiny_vq("spatial").save_pretrained(
        path
    )  # as Kandinsky's movq: the decoder's norms look at the codes too
    return path


@pytest.fixture(scope="module", params=["vq", "petals-vq", "pixels"])
def decoder(request: pytest.FixtureRequest, folder: Path) -> Decoder:
    return load_decoder(settings(folder if request.param == "vq" else request.param))


def test_images_are_images_and_row_i_starts_from_its_own_seed(decoder: Decoder) -> None:
    latents = decoder.start([3, 4])
    assert torch.equal(decoder.start([4]), latents[1:])
    assert not torch.equal(latents[0], latents[1])
    images = decoder.render(latents)
    assert images.shape == (2, 3, 16, 16)
    assert images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1


def test_gradients_reach_every_latent_of_their_own_image_alone(decoder: Decoder) -> None:
    latents = decoder.start([3, 4]).requires_grad_()
    images = decoder.render(latents)
    (images[0] * torch.rand(3, 16, 16)).sum().backward()
    assert latents.grad is not None
    assert (latents.grad[0] != 0).float().mean() > 0.5
    assert (latents.grad[1] == 0).all()


def test_clip_moves_latents_back_into_their_bounds_and_no_others(decoder: Decoder) -> None:
    latents = decoder.start([3])
    inside, wild = latents.clone(), latents + 100 * torch.randn(latents.shape)
    decoder.clip_(inside)
    assert torch.equal(inside, latents)
    decoder.clip_(wild)
    if isinstance(decoder, VqDecoder):
        for channel in range(wild.shape[1]):
            assert wild[:, channel].max() == decoder.codebook[:, channel].max()
            assert wild[:, channel].min() == decoder.codebook[:, channel].min()
    else:
        assert wild.abs().max() == BOUND


def test_quantized_latents_are_codebook_rows_with_a_straight_gradient(folder: Path) -> None:
    decoder = load_decoder(settings(folder))
    assert isinstance(decoder, VqDecoder)
    latents = (decoder.start([0, 1]) + 0.3 * torch.randn(2, 4, 8, 8)).requires_grad_()
    quantized = decoder.quantize(latents)
    rows = quantized.detach().permute(0, 2, 3, 1).reshape(-1, 4)
    codes = {tuple(row) for row in decoder.codebook.tolist()}
    assert {tuple(row) for row in rows.tolist()} <= codes, "exactly, not but for rounding"
    distances = torch.cdist(latents.detach().permute(0, 2, 3, 1).reshape(-1, 4), decoder.codebook)
    torch.testing.assert_close(rows, decoder.codebook[distances.argmin(1)])
    wanted = torch.randn(quantized.shape)
    (quantized * wanted).sum().backward()
    assert torch.equal(latents.grad, wanted)  # type: ignore[arg-type]


def test_decoding_is_the_models_own(folder: Path) -> None:
    """What a VQModel makes of latents, (y + 1) / 2 and clamped; the arithmetic in bf16 where that
    is faster.
    """
    decoder = load_decoder(settings(folder))
    assert isinstance(decoder, VqDecoder)
    decoder.mixed = False
    latents = decoder.start([0]) + 0.1
    with torch.no_grad():
        expected = ((tiny_vq("spatial").decode(latents).sample + 1) / 2).clamp(0, 1)
    torch.testing.assert_close(decoder.render(latents), expected)


def test_the_clamps_gradient_passes_inside_and_back_in() -> None:
    values = torch.tensor([0.5, 0.5, 1.5, 1.5, -0.5, -0.5], requires_grad=True)
    gradient = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    (ClampWithGradient.apply(values) * gradient).sum().backward()
    assert values.grad is not None
    # descent moves against the gradient: at 1.5 a positive one leads back, at -0.5 a negative one
    # does
    assert values.grad.tolist() == [1.0, -1.0, 1.0, 0.0, 0.0, -1.0]


def test_the_published_decoder_loads_from_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's cache as a download leaves it, with the tiny model in the place of Kandinsky's."""
    from huggingface_hub import constants

    repository = "someone/some-decoder"
    snapshot = tmp_path / "models--someone--some-decoder" / "snapshots" / ("a" * 40)
    (snapshot / "movq").mkdir(parents=True)
    (tmp_path / "models--someone--some-decoder" / "refs").mkdir()
    (tmp_path / "models--someone--some-decoder" / "refs" / "main").write_text("a" * 40)
    for file in folder.iterdir():
        (snapshot / "movq" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setitem(
        DECODERS, "movq", DecoderWeights(decoders.VQ, repository, "movq", license="Apache-2.0")
    )
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert missing(settings("movq"), online=False) is None
    made = load_decoder(settings("movq"), offline=True)
    assert (made.name, made.license, made.image_size) == ("movq", "Apache-2.0", 16)
    local = load_decoder(settings(folder))
    assert made.fingerprint() == local.fingerprint()
    assert torch.equal(made.render(made.start([1])), local.render(local.start([1])))


def test_weights_to_place_by_hand_are_named_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setitem(DECODERS, "movq", DecoderWeights(decoders.VQ, "nobody/nothing", "movq"))
    assert "generate.inversion.decoder=FOLDER" in str(missing(settings("movq"), online=False))
    assert missing(settings("movq"), online=True) is None
    assert missing(settings("petals-vq"), online=False) is None
    with pytest.raises(DownloadError, match=r"generate\.inversion\.decoder=FOLDER"):
        load_decoder(settings("movq"), offline=True)


def test_names_and_folders_that_are_no_decoder_are_refused(folder: Path, tmp_path: Path) -> None:
    assert locate(str(folder)).folder == folder
    with pytest.raises(ConfigError, match="did you mean 'petals-vq'"):
        locate("petals-qv")
    with pytest.raises(ConfigError, match=r"no config\.json"):
        locate(str(tmp_path))
    other = tmp_path / "other"
    tiny_vq().save_pretrained(other, safe_serialization=False)
    with pytest.raises(ConfigError, match="with safetensors"):
        load_decoder(settings(other))  # a pickle
    other = tmp_path / "unet"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(ConfigError, match="UNet2DModel"):
        locate(str(other))
    with pytest.raises(ConfigError, match="multiple of 2"):
        load_decoder(settings(folder, size=17))


def test_weights_that_do_not_fit_their_config_are_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_vq_embeddings": 8}))
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_decoder(settings(tmp_path))


def test_identity_is_content_for_files_and_the_name_for_published_ones(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert fingerprint(settings(copy)) == fingerprint(settings(folder))
    (copy / "config.json").write_text(json.dumps({"_class_name": "VQModel"}))
    assert fingerprint(settings(copy)) != fingerprint(settings(folder))
    assert fingerprint(settings("movq")) == {"decoder": "movq"}
    assert fingerprint(settings("petals-vq"))["decoder"] != "petals-vq"
    one, other = (load_decoder(settings(folder, size)) for size in (16, 32))
    assert one.fingerprint() != other.fingerprint()


def test_planning_loads_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from compress.engine.config import GenerateSettings; from "
        "compress.generate.inversion.decoders import fingerprint; "
        "fingerprint(GenerateSettings()); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pixels_of_coarse_levels_move_whole_regions() -> None:
    decoder = load_decoder(settings("pixels"))
    latents = torch.zeros_like(decoder.start([0]))
    latents[0, 0] = 1.0  # the first entry of the 4 pixel level
    changed = (decoder.render(latents)[0, 0] != 0.5).float()
    assert changed.sum() >= 16
    np.testing.assert_array_equal(decoder.render(latents)[0, 1:], np.full((2, 16, 16), 0.5))

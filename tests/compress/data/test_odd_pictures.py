"""Pictures of every kind that people have go through the stage as the runtime reads them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from icc_profiles import ADOBE, cmyk_profile, rgb_profile
from image_folders import grainy, image_folder, saved
from PIL import Image, PngImagePlugin

from compress.data.artifact import DataArtifact
from compress.data.geometry import eval_geometry
from compress.data.stage import run
from compress.engine.config import Settings, resolve
from compress.engine.stage import StageContext
from runtime.preprocess import decode, geometry


def settings(images: Path) -> Settings:
    data = {"dataset": None, "path": images, "shots": 2}
    return resolve({"image": {"size": 32, "crop_pct": 0.8}, "data": data})


def make(tmp_path: Path, images: Path) -> DataArtifact:
    (tmp_path / "out").mkdir(exist_ok=True)
    run(StageContext(settings(images), {}, tmp_path / "out", 0))
    return DataArtifact(tmp_path / "out")


def with_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(grainy(1), exif=exif)


def heic() -> bytes:
    with io.BytesIO() as stream:
        pillow_heif.from_pillow(grainy(2)).save(stream, quality=80)
        return stream.getvalue()


def large_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("history", "x" * 2_000_000, zip=True)
    return saved(grainy(3), "PNG", pnginfo=info)


def palette() -> bytes:
    image = grainy(4).quantize(16)
    image.info["transparency"] = 0
    return saved(image, "PNG", transparency=0)


def frames(kind: str) -> bytes:
    return saved(grainy(5), kind, save_all=True, append_images=[grainy(6), grainy(7)])


PICTURES = {
    "phone.heic": heic,
    "new.avif": lambda: saved(grainy(8), "AVIF"),
    "adobe.jpg": lambda: saved(grainy(9), icc_profile=rgb_profile(ADOBE)),
    "print.jpg": lambda: saved(grainy(10).convert("CMYK"), icc_profile=cmyk_profile()),
    "ink.tif": lambda: saved(grainy(11).convert("CMYK"), "TIFF"),
    "text.png": large_text,
    "deep.png": lambda: saved(
        Image.fromarray(np.asarray(grainy(12).convert("L"), "u2") * 257), "PNG"
    ),
    "palette.png": palette,
    "glass.webp": lambda: saved(grainy(13).convert("RGBA"), "WEBP"),
    "turned.jpg": lambda: with_exif(6),
    "mirrored.jpg": lambda: with_exif(5),
    "moving.gif": lambda: frames("GIF"),
    "moving.png": lambda: frames("PNG"),
    "moving.webp": lambda: frames("WEBP"),
    "pages.tif": lambda: frames("TIFF"),
    "one.png": lambda: saved(Image.new("RGB", (1, 1), (200, 30, 30)), "PNG"),
    "bits.png": lambda: saved(grainy(14).convert("1"), "PNG"),
}


def test_every_kind_of_picture_is_read_as_the_runtime_reads_it(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", test=6)
    for name, picture in PICTURES.items():
        (images / "test" / "rose" / name).write_bytes(picture())
    data = make(tmp_path, images)
    assert data.skipped == ()
    test = data.images("test")
    for name in PICTURES:
        row = test.keys.index(f"test/rose/{name}")
        file = images / "test" / "rose" / name
        expected = geometry(decode(file), eval_geometry(settings(images).image))
        assert np.array_equal(test.pixels[row], expected), name


def test_a_photo_cut_short_is_for_training_only(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", train=1)
    for file in (images / "train" / "rose" / "000.jpg", images / "test" / "rose" / "cut.jpg"):
        file.write_bytes(saved(grainy(len(str(file))))[:-3])
    (tmp_path / "out").mkdir()
    chosen = settings(images).model_copy(
        update={"data": settings(images).data.model_copy(update={"shots": 1})}
    )
    run(StageContext(chosen, {}, tmp_path / "out", 0))
    data = DataArtifact(tmp_path / "out")
    assert "train/rose/000.jpg" in data.shots.keys
    assert [row["key"] for row in data.skipped] == ["test/rose/cut.jpg"]
    assert data.summary is not None
    (repaired,) = data.summary.repaired
    assert repaired.key == "train/rose/000.jpg" and repaired.reason.startswith("truncated")


@pytest.mark.parametrize("name", ["moving.gif", "moving.png", "moving.webp", "pages.tif"])
def test_of_several_frames_the_first_is_taken(name: str) -> None:
    read = np.asarray(decode(PICTURES[name]()), int)
    first, second = (np.asarray(grainy(seed), int) for seed in (5, 6))
    assert np.abs(read - first).mean() < 15 < np.abs(read - second).mean()


def test_a_transparent_palette_is_on_white_and_a_turn_is_applied() -> None:
    read = np.asarray(decode(palette()))
    with Image.open(io.BytesIO(palette())) as image:
        clear = np.asarray(image) == 0
    assert clear.any() and (read[clear] == 255).all() and not (read[~clear] == 255).all()
    assert decode(with_exif(6)).size == (80, 96)


def test_fifty_megapixels_are_read_and_more_than_the_limit_is_listed(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", test=4)
    Image.new("RGB", (8660, 5774), (40, 90, 160)).save(images / "test" / "rose" / "large.jpg")
    Image.new("L", (9000, 8000)).save(images / "test" / "rose" / "larger.png")
    data = make(tmp_path, images)
    assert "test/rose/large.jpg" in data.images("test").keys
    assert [row["key"] for row in data.skipped] == ["test/rose/larger.png"]
    assert "72,000,000 pixels" in data.skipped[0]["reason"]


def test_without_pi_heif_a_folder_of_heic_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    images = image_folder(tmp_path / "images", test=1)
    for number in range(4):
        (images / "test" / "rose" / f"{number}.heic").write_bytes(heic())
    with pytest.raises(Exception, match=r"is HEIC.*pip install 'clip2edge\[heic\]'"):
        make(tmp_path, images)

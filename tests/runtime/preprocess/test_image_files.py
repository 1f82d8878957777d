"""What counts as an image: by suffix or by content, broken or not."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_folders import encoded, photo
from PIL import Image

from runtime.preprocess.decode import FORMATS
from runtime.preprocess.image_files import advice, images_below, is_image


def archive() -> bytes:
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, "w") as made:
            made.writestr("a.jpg", encoded())
        return stream.getvalue()


NO_IMAGES = {
    "labelme.json": b'{"imageData": "/9j/4AAQSkZJRg=="}',
    "caption.txt": b"BMW 320 in red",
    "palette.txt": b"P3 color, Pyrus, Pfau",
    "boxes.tsv": b"P3 4 4 255 x",
    "points.txt": b"P1 2 2 1 0 0 1",
    "gif.md": b"GIF 89a is a format",
    "box.xml": b"<annotation/>",
    "page": b"<!DOCTYPE html>",
    "sound.webp.wav": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
    "live.mov": b"\0\0\0\x14ftypqt  " + bytes(40),
    "clip.mp4": b"\0\0\0\x18ftypisom" + bytes(40),
    "weights.npy": b"\x93NUMPY\x01\x00v\0{'descr'" + bytes(100),
    "all.zip": archive(),
    "doc.pdf": b"%PDF-1.7\n%\xe2\xe3",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "side.xmp": b"<?xpacket begin='\xef\xbb\xbf'?>",
    "edit.aae": b"bplist00",
    "zeros": bytes(200),
    "empty": b"",
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_lies_beside_images(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(NO_IMAGES[name])
    assert not is_image(tmp_path / name)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind in Image.SAVE])
@pytest.mark.parametrize("name", ["no suffix", "wrong.txt", "x.part"])
def test_every_format_that_is_read_is_known_by_its_content(
    tmp_path: Path, kind: str, name: str
) -> None:
    Image.init()
    photo(size=(32, 32)).save(tmp_path / name, kind)
    assert is_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jpg", "A.JPEG", "b.Png", "c.HEIC", "d.tga", "e.jxl"])
def test_a_suffix_suffices_so_that_broken_images_are_told(tmp_path: Path, name: str) -> None:
    assert is_image(tmp_path / "gone" / name)
    (tmp_path / name).touch()
    assert is_image(tmp_path / name) and advice(tmp_path / name) == "it is empty"


@pytest.mark.parametrize(
    "data, said",
    [
        (b"\0\0\0\x18ftypheic" + bytes(20), "it is HEIC"),
        (b"\0\0\0\x18ftypmif1" + bytes(20), "it is HEIC"),
        (b"\xff\x0a" + bytes(20), "it is JPEG XL"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"\xef\xbb\xbf\n<!DOCTYPE HTML><title>404", "the download failed"),
        (encoded()[:100], None),
        (np.random.default_rng(0).bytes(100), None),
    ],
)
def test_advice_about_what_cannot_be_read(tmp_path: Path, data: bytes, said: str | None) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    found = advice(tmp_path / "a.jpg")
    assert found == said if said is None else said in str(found)


def test_a_huge_image_without_a_suffix_is_one(tmp_path: Path) -> None:
    header = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    header += (60_000).to_bytes(4, "little") * 2 + b"\x01\0\x18\0" + bytes(24)
    (tmp_path / "huge").write_bytes(header)
    assert is_image(tmp_path / "huge")


def test_images_below_a_folder_are_sorted_and_each_is_there_once(tmp_path: Path) -> None:
    for name in ("b/1.jpg", "b/a.JPG", "a/1.jpg", "c.jpg", ".h/1.jpg", "@eaDir/1.jpg", "b/._1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded())
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "a" / "1.txt").write_text("caption", encoding="utf-8")
    found = [path.relative_to(tmp_path).as_posix() for path in images_below(tmp_path)]
    assert found == ["a/1.jpg", "a/gone.jpg", "b/1.jpg", "b/a.JPG", "c.jpg"]
    assert images_below(tmp_path / "absent") == [tmp_path / "absent"]

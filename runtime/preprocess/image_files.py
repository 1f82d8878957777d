"""What counts as an image among the files of a folder, and what else a file turns out to be.

An image's suffix suffices, so that a broken photo is counted and told with its reason. Any other
file is an image if its first bytes say so: captions, labels and archives beside the images are not.
"""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from runtime.files.regular import open_file
from runtime.preprocess.decode import FORMATS
from runtime.preprocess.heif import is_heif_head

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".ppm", ".pgm")
    + (".pbm", ".pnm", ".webp", ".tif", ".tiff", ".avif", ".avifs", ".mpo", ".jp2", ".j2k", ".j2c")
    + (".jpx", ".jpf", ".tga", ".qoi", ".ico", ".heic", ".heif", ".hif", ".jxl")
)
# what desktops, Python and storage boxes leave unhidden; never spoken of
LITTER = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "__pycache__", "@eadir", "#recycle")
    + ("$recycle.bin", "system volume information", "lost+found")
)
SMALL_COPIES = frozenset(("thumbnails", "_thumbnails"))  # folders of copies of the images
HEAD = 64  # bytes that tell a format
PLAIN = (b"P1", b"P2", b"P3")  # PPM in text, known by its suffix alone
UNSIGNED = ("BMP", "PPM", "ICO", "TGA")  # too few bytes to go by: Pillow has to read the header

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
}
_AVIF = frozenset((b"avif", b"avis", b"mif1", b"msf1"))  # what follows "ftyp"; videos have others
_ADVICE = {
    "JPEG XL": "it is JPEG XL, which is not read: convert it to JPEG or PNG",
    "AVIF": "it is AVIF, which this Pillow does not read: pip install --upgrade 'Pillow>=11.3'",
}
_TEXTS = {
    b"version https://git-lfs": "it is a pointer of Git LFS: git lfs pull",
    b"<!doctype html": "it is a web page: the download failed",
    b"<html": "it is a web page: the download failed",
}


def is_image(path: Path) -> bool:
    """Whether a file takes part as an image, be it readable or not."""
    if path.suffix.lower() in SUFFIXES:
        return True
    head = _head(path)
    if _format(head) is not None:
        return True
    is_text = head[:2] in PLAIN  # "P3 4 4 255" begins a table as well as a picture
    return len(head) >= 8 and not is_text and _has_header(path)


def images_below(folder: Path) -> list[Path]:
    """The images at and below a folder, broken ones too, sorted by path.

    Hidden files, litter, small copies, and captions and labels beside the images are none. Links
    are followed, and no folder is read twice. A folder that cannot be read is listed like a broken
    image: who opens it learns why.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            stat = os.stat(place)
            if (stat.st_dev, stat.st_ino) in seen:
                continue
            seen.add((stat.st_dev, stat.st_ino))
            names = sorted(os.listdir(place), reverse=True)
        except OSError:
            found.append(place)
            continue
        for path in (place / name for name in names if not _is_litter(name)):
            if os.path.isdir(path):
                waiting += [path] if path.name.casefold() not in SMALL_COPIES else []
            elif _is_file(path) and is_image(path):
                found.append(path)
    return sorted(found)


def advice(path: Path) -> str | None:
    """What a file is that cannot be read as an image, and what to do; None if unknown."""
    try:
        if path.stat().st_size == 0:
            return "it is empty"
    except OSError:
        return None
    head = _head(path)
    kind = _format(head)
    if kind == "AVIF" and "AVIF" in Image.OPEN:
        return None  # damaged, as the reader says
    if kind == "HEIC":  # without pi-heif the reader says what to install
        return "it is HEIC, and damaged" if find_spec("pi_heif") is not None else None
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    texts = (text for mark, text in _TEXTS.items() if start.startswith(mark))
    return _ADVICE.get(kind or "") or next(texts, None)


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.casefold() in LITTER


def _is_file(path: Path) -> bool:
    """Whether it is a file, or a broken link to one, which is told where it is opened."""
    return os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path))


def _head(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _format(head: bytes) -> str | None:
    """The format that the first bytes prove, by Pillow's name where it has one."""
    if is_heif_head(head):
        return "HEIC"
    if head[4:8] == b"ftyp":
        return "AVIF" if head[8:12] in _AVIF else None
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else None
    if head[:4] == b"qoif" and len(head) >= 14:
        return "QOI" if head[12] in (3, 4) and head[13] in (0, 1) else None
    return next((kind for mark, kind in _SIGNATURES.items() if head.startswith(mark)), None)


def _has_header(path: Path) -> bool:
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.open(path, formats=[kind for kind in UNSIGNED if kind in FORMATS]).close()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return True
    except Exception:  # Pillow's parsers raise anything on what is no image
        return False
    return True

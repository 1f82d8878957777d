"""HEIC, the photos of phones: read with pi-heif, the optional extra ``heic``."""

from __future__ import annotations

from typing import IO

from PIL import Image

from runtime.errors import ImageError

# ISO/IEC 23008-12: what follows "ftyp" in a file of HEVC pictures; "mif1": of any pictures
BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
ANY_PICTURE = frozenset((b"mif1", b"msf1"))
REMEDY = "pip install 'clip2edge[heic]', or convert it to JPEG (on the phone: Most Compatible)"


def is_heif(stream: IO[bytes]) -> bool:
    """Whether a file holds HEVC pictures; it is left at its start."""
    head = stream.read(64)
    stream.seek(0)
    return is_heif_head(head)


def is_heif_head(head: bytes) -> bool:
    """Whether the first bytes of a file say that it holds HEVC pictures."""
    if head[4:8] != b"ftyp":
        return False
    if head[8:12] in BRANDS:
        return True
    if head[8:12] not in ANY_PICTURE:
        return False
    size = int.from_bytes(head[:4], "big")  # of the box with the compatible brands
    others = {head[start : start + 4] for start in range(16, min(size, len(head)), 4)}
    return not others & {b"avif", b"avis"}


def open_heif(stream: IO[bytes], name: str) -> Image.Image:
    """Opens a HEIC file with Pillow, its pixels not yet decoded.

    Raises: ImageError: pi-heif is not installed.
    """
    if "HEIF" not in Image.OPEN:
        try:
            import pi_heif
        except ImportError as error:
            raise ImageError(f"{name} is HEIC", got=error, remedy=REMEDY) from error
        pi_heif.register_heif_opener()
    return Image.open(stream, formats=["HEIF"])

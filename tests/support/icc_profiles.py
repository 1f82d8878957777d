"""ICC profiles made by tests: RGB by primaries and a gamma, gray, and a CMYK table."""

from __future__ import annotations

import struct

import numpy as np

# Colorants adapted to D50, columns R, G, B (Adobe RGB 1998, annex C; Display P3; ROMM RGB).
ADOBE = ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457))
P3 = ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
PROPHOTO = ((0.79767, 0.13519, 0.03134), (0.28804, 0.71188, 0.00009), (0.0, 0.0, 0.82491))
SRGB = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))
D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(colorants: tuple[tuple[float, ...], ...], gamma: float | None = 2.2) -> bytes:
    """A matrix profile; gamma None: sRGB's own curve."""
    curve = _curve(gamma)
    tags = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), np.transpose(colorants), strict=True):
        tags[name] = _xyz(*column)
    return _profile(b"RGB ", b"XYZ ", tags)


def gray_profile(gamma: float = 1.0) -> bytes:
    """A gray profile; gamma 1 is far from sRGB's curve."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """A table of 16 corners: ink takes light away, in Lab."""
    corners = []
    for cyan, magenta, yellow, black in np.ndindex(2, 2, 2, 2):
        lightness = 255 * (1 - 0.25 * (cyan + magenta + 0.4 * yellow)) * (1 - 0.9 * black)
        a = 128 + 60 * (magenta - cyan) * (1 - black)
        b = 128 + 60 * (yellow - 0.7 * (cyan + magenta) / 2) * (1 - black)
        corners += [round(float(np.clip(value, 0, 255))) for value in (lightness, a, b)]
    ramp = bytes(range(256))
    identity = b"".join(struct.pack(">i", 65536 * (i == j)) for i in range(3) for j in range(3))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + bytes(corners) + ramp * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table}, kind=b"prtr")


def to_srgb(
    values: np.ndarray, colorants: tuple[tuple[float, ...], ...], gamma: float
) -> np.ndarray:
    """The reference: 8-bit pixels (..., 3) of a matrix profile as sRGB, in float64."""
    light = (values / 255.0) ** gamma @ np.transpose(colorants) @ np.linalg.inv(np.transpose(SRGB))
    light = np.clip(light, 0, 1)
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return 255 * curved


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    steps = np.linspace(0, 1, 1024)
    light = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    points = np.rint(65535 * light).astype(">u2").tobytes()
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + points


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(65536 * value)) for value in values)


def _profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    name = b"a profile made by a test"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(79),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz(*D50),
        **tags,
    }
    start = 128 + 4 + 12 * len(tags)
    table, data = b"", b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(data), b"test", 0x02400000, kind, space, pcs)
    head += bytes(12) + b"acsp" + bytes(28) + _xyz(*D50)[8:] + bytes(48)
    assert len(head) == 128
    return head + struct.pack(">I", len(tags)) + table + data

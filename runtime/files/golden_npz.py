"""golden.npz on disk: an uncompressed zip of .npy arrays, with reproducible bytes.

Not ``numpy.load``: it unpacks what a zip claims to hold, allocates what a header claims, and
evaluates the header as Python.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from runtime.errors import BundleError
from runtime.files.regular import COPY_AGAIN, open_regular

MAX_BYTES = 256 * 2**20
MAX_ARRAYS = 512
MAX_TEXT = 64  # characters: a SHA-256 in hex
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\.npy")

# What numpy writes for a C-ordered array in format 1.0
# (numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
MAGIC = b"\x93NUMPY\x01\x00"
HEADER = re.compile(
    rb"\{'descr': '(\|u1|[<>]f[248]|[<>]U[0-9]{1,4})', 'fortran_order': False, "
    rb"'shape': \(((?:[0-9]{1,12}, )*[0-9]{0,12},?)\), \} *\n"
)

# What numpy and zipfile raise on a damaged file, besides struct.error and BadZipFile.
_DAMAGE = (OSError, ValueError, EOFError, KeyError, IndexError, OverflowError, RuntimeError)


def write(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz whose bytes depend on ``arrays`` alone."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            array = np.ascontiguousarray(arrays[name])
            np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix; the default differs by operating system
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, buffer.getvalue())


def read(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz that ``write`` wrote: name -> numbers or ASCII text.

    Raises: BundleError: absent, too large, compressed, damaged, or other than such arrays.
    """
    with open_regular(file, MAX_BYTES) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return _arrays(archive)
        except (*_DAMAGE, struct.error, zipfile.BadZipFile) as error:
            got = str(error)[:200]
            raise BundleError(f"{file} cannot be read", got=got, remedy=COPY_AGAIN) from error


def _arrays(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    entries = archive.infolist()
    if len(entries) > MAX_ARRAYS or len({entry.filename for entry in entries}) < len(entries):
        raise ValueError(f"{len(entries)} arrays, at most {MAX_ARRAYS} with distinct names")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_BYTES:
        raise ValueError(f"too large: {unpacked:,} bytes, at most {MAX_BYTES:,}")
    out = {}
    for entry in entries:
        if not NAME.fullmatch(entry.filename):
            raise ValueError(f"array name {entry.filename[:80]!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ValueError(f"{entry.filename} is compressed")
        out[entry.filename.removesuffix(".npy")] = _array(archive.read(entry), entry.filename)
    return out


def _array(data: bytes, name: str) -> np.ndarray:
    """The array in the bytes of an .npy file; a view of them."""
    size = int.from_bytes(data[8:10], "little")
    header = HEADER.fullmatch(data[10 : 10 + size])
    if not data.startswith(MAGIC) or header is None:
        raise ValueError(f"{name} is no plain array")
    kind = np.dtype(header[1].decode())
    shape = tuple(int(part) for part in header[2].replace(b",", b" ").split())
    values = data[10 + size :]
    is_small = len(shape) <= 4 and kind.itemsize <= 4 * MAX_TEXT
    if not is_small or math.prod(shape) * kind.itemsize != len(values):
        raise ValueError(f"{name} holds {len(values):,} bytes, not {kind} {shape}")
    array = np.frombuffer(values, kind).reshape(shape)
    if kind.kind == "U" and values and np.frombuffer(values, kind.str[0] + "u4").max() > 127:
        raise ValueError(f"{name} holds text that is not ASCII")
    return array.astype(kind.newbyteorder("="), copy=False)

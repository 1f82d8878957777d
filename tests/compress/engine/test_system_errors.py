"""Errors of the system, in whatever disguise, are one StoreError with a remedy."""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

import pytest

from compress.engine.errors import DataError, ExportError, StoreError
from compress.engine.system_errors import explained, system_errors


def wrapped(inner: Exception) -> Exception:
    """As code that catches everything and blames something else."""
    try:
        try:
            raise inner
        except Exception as error:
            raise ExportError("static quantization failed", got=str(error)) from None
    except ExportError as outer:
        return outer


FULL = {
    "write": OSError(errno.ENOSPC, "No space left on device", "store/x"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "safetensors": RuntimeError("Error while serializing: I/O error: No space left (os error 28)"),
    "numpy": OSError("32768 requested and 5088 written"),
    "shutil": shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
    "torch": RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    "blamed on another": wrapped(OSError(errno.ENOSPC, "No space left on device")),
}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_a_full_disk_is_said_to_be_full(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(StoreError, match="disk is full.*MB free at.*compress clean.*repeat"),
        system_errors(tmp_path / "not" / "there"),
    ):
        raise error


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EPERM, "permit"),
        (errno.EMFILE, "too many files.*ulimit"),
        (errno.ENOTDIR, "a file stands where a folder is needed"),
        (errno.EISDIR, "a folder stands where a file"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.ELOOP, "circle"),
        (errno.EIO, "read or write error"),
        (errno.ENOENT, "missing"),
        (errno.ESTALE, "network folder"),
        (errno.EXDEV, "cross-device|invalid cross"),
    ],
)
def test_other_system_errors_name_the_file_and_a_remedy(number: int, words: str) -> None:
    told = explained(OSError(number, "reason", "some/file"))
    assert isinstance(told, StoreError) and "some/file" in str(told) and told.remedy
    assert re.search(words, str(told), re.IGNORECASE)


def test_no_memory_is_a_system_error_too() -> None:
    for error in (
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ):
        assert "memory is full" in str(explained(error))


def test_an_error_that_explains_itself_stays_unless_a_resource_is_behind_it() -> None:
    try:
        try:
            raise PermissionError(errno.EACCES, "denied", "photo.jpg")
        except OSError as denied:
            raise DataError("photos cannot be read") from denied
    except DataError as error:
        assert explained(error) is error
    own = StoreError("the store is locked")
    assert explained(own) is own


def test_a_bug_is_no_system_error() -> None:
    assert explained(TypeError("x")) is None
    with pytest.raises(KeyError), system_errors(Path("/")):
        raise KeyError("x")

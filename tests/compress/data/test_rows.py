"""A .npy file written row by row."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from compress.data.rows import RowWriter


def test_rows_grow_without_knowing_their_number(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (1234, 2, 3), dtype=np.uint8)
    with RowWriter(tmp_path / "rows.npy", (2, 3)) as file:
        for row in rows:
            file.append(row)
    assert np.array_equal(np.load(tmp_path / "rows.npy", mmap_mode="r"), rows)


def test_rows_of_another_shape_are_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="not uint8"),
        RowWriter(tmp_path / "rows.npy", (2, 3)) as file,
    ):
        file.append(np.zeros((3, 2), np.uint8))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_an_error_not_a_signal(tmp_path):
    (tmp_path / "rows.npy").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught, RowWriter(tmp_path / "rows.npy", (64, 64)) as file:
        for _ in range(100):
            file.append(np.zeros((64, 64), np.uint8))
    assert caught.value.errno in (errno.ENOSPC, errno.ESPIPE)

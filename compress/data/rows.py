"""A uint8 .npy file written row by row in constant memory, of any number of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class RowWriter:
    """Appends arrays of one shape to a .npy file; complete after ``with``.

    Plain writes instead of a memory map: a full disk is then an OSError here, and not a SIGBUS that
    kills the process.
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...]) -> None:
        self._row_shape = row_shape
        self.rows = 0
        self._file = path.open("w+b")
        self._write_header()
        self._start = self._file.tell()

    def append(self, row: np.ndarray) -> None:
        """Writes one row; its shape and type must be the file's."""
        if row.shape != self._row_shape or row.dtype != np.uint8:
            raise ValueError(f"row is {row.dtype} {row.shape}, not uint8 {self._row_shape}")
        self._file.write(np.ascontiguousarray(row).tobytes())
        self.rows += 1

    def _write_header(self) -> None:
        shape = (self.rows, *self._row_shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        # padded so that the first axis may grow in place
        np.lib.format.write_array_header_1_0(self._file, header)

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._write_header()
                assert self._file.tell() == self._start, "numpy's header did not keep its length"

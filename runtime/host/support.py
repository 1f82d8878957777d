"""Which file of a bundle runs where: the support matrix.

Versions are those that each platform ships (NVIDIA's JetPack release pages; JetPack 7.2: its users'
reports; TensorRT 11
on Jetson: NVIDIA's migration guide of 11.4.1). We have run none of the NVIDIA rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

INT8_ORT, INT8_TRT, FP16 = "model.int8.onnx", "model.int8.trt.onnx", "model.fp16.onnx"


@dataclass(frozen=True)
class Platform:
    """One row.

    Attributes:
        name: e.g. "JetPack 6.1, 6.2".
        devices: where it runs.
        linux: Jetson Linux (L4T) versions from and up to which it is this row, (major, minor);
            empty elsewhere.
        python, cuda, tensorrt: as shipped; "-" where there is none.
        files: of a bundle, the best first.
        how: how to run them.
    """

    name: str
    devices: str
    linux: tuple[tuple[int, int], ...]
    python: str
    cuda: str
    tensorrt: str
    files: tuple[str, ...]
    how: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


ENGINE = "backend tensorrt: engines are built on the device"
MATRIX: tuple[Platform, ...] = (
    Platform(
        "JetPack 5",
        "Xavier, Orin",
        ((35, 1), (35, 99)),
        "3.8",
        "11.4",
        "8.5",
        (INT8_ORT,),
        "onnxruntime on the CPU, with a Python of 3.10 or newer beside the system's; its "
        "TensorRT 8 is too old",
    ),
    Platform(
        "JetPack 6.0",
        "Orin",
        ((36, 2), (36, 3)),
        "3.10",
        "12.2",
        "8.6",
        (INT8_ORT,),
        "onnxruntime on the CPU; upgrade to JetPack 6.2 for TensorRT 10",
    ),
    Platform(
        "JetPack 6.1, 6.2",
        "Orin",
        ((36, 4), (36, 99)),
        "3.10",
        "12.6",
        "10.3",
        (INT8_TRT, FP16),
        ENGINE,
    ),
    Platform(
        "JetPack 7.0, 7.1",
        "Thor",
        ((38, 1), (38, 99)),
        "3.12",
        "13.0",
        "10.13",
        (INT8_TRT, FP16),
        ENGINE,
    ),
    Platform(
        "JetPack 7.2",
        "Thor, Orin",
        ((39, 1), (39, 99)),
        "3.12",
        "13.2",
        "10.16",
        (INT8_TRT, FP16),
        f"{ENGINE}; TensorRT 11.4.1 from JetPack 7.2.2 on",
    ),
    Platform(
        "x86-64 + NVIDIA",
        "RTX, L4, ...",
        (),
        "3.10+",
        "12, 13",
        "10, 11",
        (INT8_TRT, FP16),
        f"{ENGINE}; or onnxruntime-gpu (1.27 or newer with TensorRT 11)",
    ),
    Platform(
        "x86-64",
        "PC, server",
        (),
        "3.10+",
        "-",
        "-",
        (INT8_ORT, "model.fp32.onnx"),
        "onnxruntime; the bundle's default is the faster one on the machine that built it",
    ),
    Platform("64-bit ARM", "Raspberry Pi 4, 5", (), "3.10+", "-", "-", (INT8_ORT,), "onnxruntime"),
    Platform(
        "browser, phone",
        "any",
        (),
        "-",
        "-",
        "-",
        (INT8_ORT,),
        "onnxruntime-web, onnxruntime-mobile",
    ),
)


def platform_of(jetson_linux: str | None, arch: str, nvidia: bool) -> Platform:
    """The row of a machine.

    Args:
        jetson_linux: e.g. "R36.4.3"; None elsewhere. A release that no row names counts as the last
            one before it.
        arch: as ``platform.machine()``.
        nvidia: whether it shows an NVIDIA GPU.
    """
    by_name = {row.name: row for row in MATRIX}
    release = release_of(jetson_linux)
    if release is not None:
        rows = [row for row in MATRIX if row.linux]
        return next((row for row in reversed(rows) if row.linux[0] <= release), rows[0])
    if arch in ("aarch64", "arm64"):
        return by_name["64-bit ARM"]
    return by_name["x86-64 + NVIDIA" if nvidia else "x86-64"]


def release_of(jetson_linux: str | None) -> tuple[int, int] | None:
    """ "R36.4.3" -> (36, 4)."""
    parts = (jetson_linux or "").removeprefix("R").split(".")
    return (
        (int(parts[0]), int(parts[1]))
        if len(parts) > 1 and all(part.isdigit() for part in parts[:2])
        else None
    )


def table(rows: Sequence[Platform] = MATRIX) -> list[str]:
    """The matrix as text, below 80 columns."""
    head = ("platform", "Python", "CUDA", "TensorRT", "files, the best first")
    cells = [
        head,
        *(
            (r.name, r.python, r.cuda, r.tensorrt, ", ".join(f[6:-5] for f in r.files))
            for r in rows
        ),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]

"""Which file of a bundle runs where: the support matrix.

Versions are those that each platform ships (NVIDIA's JetPack release pages; JetPack 7.2: its users'
reports; TensorRT 11 on Jetson: NVIDIA's migration guide of 11.4.1). This project has run none of
the NVIDIA rows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """One row."""

    name: str
    devices: str  # where it runs
    linux: tuple[tuple[int, int], ...]  # first and last Jetson Linux (L4T); empty elsewhere
    python: str  # shipped versions; "-" for none
    cuda: str
    tensorrt: str
    files: tuple[str, ...]  # of a bundle, the best first
    how: str  # to run them


# How to run the files.
ORT_3_8 = "onnxruntime on the CPU, with a Python of 3.10 or newer beside the system's"
ORT_3_8 += "; its TensorRT 8 is too old"
ORT_UPGRADE = "onnxruntime on the CPU; upgrade to JetPack 6.2 for TensorRT 10"
TRT = "backend tensorrt: engines are built on the device"
TRT_7_2 = f"{TRT}; TensorRT 11.4.1 from JetPack 7.2.2 on"
TRT_OR_ORT = f"{TRT}; or onnxruntime-gpu (1.27 or newer with TensorRT 11)"
ORT = "onnxruntime; the bundle's default is the faster one on the machine that built it"
WEB = "onnxruntime-web, onnxruntime-mobile"

INT8 = ("model.int8.onnx",)
BOTH = (*INT8, "model.fp32.onnx")
ENGINES = ("model.int8.trt.onnx", "model.fp16.onnx")  # engines are built from these
L4T_35 = ((35, 1), (35, 99))
L4T_36_0 = ((36, 2), (36, 3))
L4T_36 = ((36, 4), (36, 99))
L4T_38 = ((38, 1), (38, 99))
L4T_39 = ((39, 1), (39, 99))
ANY = "3.10+"
MATRIX: tuple[Platform, ...] = (
    Platform("JetPack 5", "Xavier, Orin", L4T_35, "3.8", "11.4", "8.5", INT8, ORT_3_8),
    Platform("JetPack 6.0", "Orin", L4T_36_0, "3.10", "12.2", "8.6", INT8, ORT_UPGRADE),
    Platform("JetPack 6.1, 6.2", "Orin", L4T_36, "3.10", "12.6", "10.3", ENGINES, TRT),
    Platform("JetPack 7.0, 7.1", "Thor", L4T_38, "3.12", "13.0", "10.13", ENGINES, TRT),
    Platform("JetPack 7.2", "Thor, Orin", L4T_39, "3.12", "13.2", "10.16", ENGINES, TRT_7_2),
    Platform("x86-64 + NVIDIA", "RTX, L4, ...", (), ANY, "12, 13", "10, 11", ENGINES, TRT_OR_ORT),
    Platform("x86-64", "PC, server", (), ANY, "-", "-", BOTH, ORT),
    Platform("64-bit ARM", "Raspberry Pi 4, 5", (), ANY, "-", "-", INT8, "onnxruntime"),
    Platform("browser, phone", "any", (), "-", "-", "-", INT8, WEB),
)


def platform_of(jetson_linux: str | None, arch: str, nvidia: bool) -> Platform:
    """The row of a machine; a release of Jetson Linux without a row takes the row before.

    ``arch`` is ``platform.machine()``'s; ``nvidia`` says whether it has an NVIDIA GPU.
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
    parts = (jetson_linux or "").removeprefix("R").split(".")[:2]
    is_release = len(parts) == 2 and all(part.isdigit() for part in parts)
    return (int(parts[0]), int(parts[1])) if is_release else None


def table() -> list[str]:
    """The matrix as text, below 80 columns."""
    head = ("platform", "Python", "CUDA", "TensorRT", "files, the best first")
    models = [", ".join(file[6:-5] for file in row.files) for row in MATRIX]
    body = [(r.name, r.python, r.cuda, r.tensorrt, m) for r, m in zip(MATRIX, models, strict=True)]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    aligned = ([t.ljust(w) for t, w in zip(row, widths, strict=True)] for row in (head, *body))
    return ["  ".join(row).rstrip() for row in aligned]

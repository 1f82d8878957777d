"""Which file of a bundle computes which precision on a device: the int8 file made for its engine,
the float file as fp16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from compress.budgets.calibration import Calibration, estimated
from compress.budgets.costs import Costs, costs_of
from compress.budgets.devices import Device
from compress.budgets.roofline import Estimate
from compress.engine.errors import BudgetError

#: engine -> precision -> model keys of a bundle, the better first
FILES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "tensorrt": {"fp32": ("fp32",), "fp16": ("fp16", "fp32"), "int8": ("int8.trt", "int8")},
    "onnxruntime": {"fp32": ("fp32",), "int8": ("int8", "int8.trt")},
    "npu": {"fp32": ("fp32",), "fp16": ("fp16", "fp32"), "int8": ("int8.trt", "int8")},
}


def models_of(path: Path) -> dict[str, Path]:
    """Model key -> ONNX file: of a bundle, or of a single file ("int8" where it holds Q/DQ pairs,
    else "fp32").

    Raises:
        BundleError: a bundle that is damaged. BudgetError: neither a bundle nor an ONNX file.
    """
    if path.is_dir():
        from runtime.bundle import open_bundle

        return open_bundle(path).models
    if path.suffix != ".onnx" or not path.is_file():
        raise BudgetError(
            "nothing to estimate", got=str(path), expected="a bundle, or a .onnx file"
        )
    return {"int8" if costs_of(path).int8_share > 0 else "fp32": path}


def estimates(
    models: Mapping[str, Path | Costs], where: Device, known: Sequence[Calibration] = ()
) -> dict[str, Estimate]:
    """The estimate of each precision that the device computes in and that the models offer."""
    out = {}
    for precision in where.precisions:
        keys = FILES[where.engine].get(precision, ())
        found = next((models[key] for key in keys if key in models), None)
        if found is not None:
            costs = costs_of(found) if isinstance(found, Path) else found
            out[precision] = estimated(costs, where, precision, known)
    return out

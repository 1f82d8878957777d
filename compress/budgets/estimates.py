"""Estimates of a bundle or an ONNX file on a device, one per precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from compress.budgets.calibration import Calibration
from compress.budgets.costs import Costs, costs_of
from compress.budgets.devices import DeviceProfile
from compress.budgets.roofline import Estimate, estimate
from compress.budgets.variants import ENGINES
from compress.engine.errors import BudgetError


def models_of(path: Path) -> dict[str, Path]:
    """Model key -> ONNX file: of a bundle, or of one file (int8 if it holds Q/DQ pairs, else fp32).

    Raises:
        BundleError: the bundle is damaged.
        BudgetError: neither a bundle nor an ONNX file.
    """
    if path.is_dir():
        from runtime.bundle import open_bundle

        return open_bundle(path).models
    if path.suffix != ".onnx" or not path.is_file():
        expected = "a bundle, or a .onnx file"
        raise BudgetError("nothing to estimate", got=str(path), expected=expected)
    return {"int8" if costs_of(path).int8_share > 0 else "fp32": path}


def estimates(
    models: Mapping[str, Path | Costs],
    device: DeviceProfile,
    calibrations: Sequence[Calibration] = (),
) -> dict[str, Estimate]:
    """The estimate of each precision that the device computes in and the models offer."""
    out = {}
    for precision in device.precisions:
        keys = ENGINES[device.engine].files.get(precision, ())
        model = next((models[key] for key in keys if key in models), None)
        if model is not None:
            costs = costs_of(model) if isinstance(model, Path) else model
            out[precision] = calibrated(costs, device, precision, calibrations)
    return out


def calibrated(
    costs: Costs, device: DeviceProfile, precision: str, calibrations: Iterable[Calibration] = ()
) -> Estimate:
    """The estimate of a model, corrected by the first calibration of the device if there is one."""
    known = next((one for one in calibrations if one.device == device.name), None)
    factor, source = known.factor(precision) if known else (1.0, None)
    return estimate(costs, device, precision, factor=factor, calibration=source)

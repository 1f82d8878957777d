"""Another opset or IR version of the same graph, for engines that read older or only newer ones."""

from __future__ import annotations

import copy

from onnx import ModelProto, helper, version_converter

from compress.engine.errors import ExportError
from export.onnx.convert import MAX_IR, MAX_OPSET, MIN_OPSET
from export.onnx.graph import STANDARD

MIN_IR = 8  # of opset 18


def with_opset(model: ModelProto, opset: int) -> ModelProto:
    """A copy in another opset, by ONNX's version converter, with the lowest IR version it allows.

    Raises: ExportError: an opset outside 18..22, or an operator that cannot be converted.
    """
    if not MIN_OPSET <= opset <= MAX_OPSET:
        expected = f"{MIN_OPSET}..{MAX_OPSET}"
        raise ExportError("opset cannot be exported", got=opset, expected=expected)
    foreign = sorted({entry.domain for entry in model.opset_import} - STANDARD)
    if foreign:
        got = f"operators of {foreign[0]}"
        raise ExportError(f"opset {opset}", got=got, expected="standard operators only")
    try:
        converted = version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises RuntimeError for all it cannot do
        got = str(error).strip().splitlines()[0][:300]
        remedy = f"build again with --set export.opset={opset}"
        what = f"ONNX's version converter cannot write the graph in opset {opset}"
        raise ExportError(what, got=got, remedy=remedy) from error
    twin = copy.deepcopy(model)
    twin.graph.CopyFrom(converted.graph)
    twin.graph.name = model.graph.name
    del twin.opset_import[:], twin.graph.value_info[:]
    twin.opset_import.append(helper.make_opsetid("", opset))
    twin.ir_version = max(lowest_ir(twin), MIN_IR)
    return twin


def with_ir(model: ModelProto, ir: int) -> ModelProto:
    """A copy that states another IR version.

    Raises: ExportError: an IR version above 10, or below what the model's opset needs.
    """
    low = lowest_ir(model)
    if not low <= ir <= MAX_IR:
        expected = f"{low}..{MAX_IR} for opset {opset_of(model)}"
        remedy = "choose an older opset for an older IR version"
        raise ExportError("IR version cannot be written", got=ir, expected=expected, remedy=remedy)
    twin = copy.deepcopy(model)
    twin.ir_version = ir
    return twin


def opset_of(model: ModelProto) -> int:
    """The version of the standard operators."""
    return next(entry.version for entry in model.opset_import if entry.domain in STANDARD)


def lowest_ir(model: ModelProto) -> int:
    """The oldest IR version that may state the model's opsets."""
    return int(helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True))

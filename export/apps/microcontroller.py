"""TensorFlow Lite Micro for microcontrollers: the model as a C array, and what reads its answers.

The model runs here, in TensorFlow Lite Micro's own reference kernels (``runtime.backends.micro``):
the app is written only if they give the golden answers, and states the arena that they needed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from compress.engine.errors import ExportError, MissingExtraError
from export.apps.parts import told, write_golden
from export.apps.render import quoted, render
from export.apps.source import AppSource, Vendored
from runtime import PreprocessSpec, normalize
from runtime.backends import litert, micro
from runtime.errors import BackendError

literal = partial(quoted, special=b'"\\?')
COLUMNS = 12  # bytes of the model in a line
MARGIN = 1.1  # of the arena over what was needed here
ROUND = 1024  # bytes
LEVELS = 256  # of a pixel

#: operators that TensorFlow Lite Micro has kernels for -> the resolver's method
METHODS = {
    "ADD": "AddAdd",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "DEQUANTIZE": "AddDequantize",
    "DIV": "AddDiv",
    "EXPAND_DIMS": "AddExpandDims",
    "FULLY_CONNECTED": "AddFullyConnected",
    "HARD_SWISH": "AddHardSwish",
    "L2_NORMALIZATION": "AddL2Normalization",
    "LOGISTIC": "AddLogistic",
    "MAXIMUM": "AddMaximum",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean",
    "MINIMUM": "AddMinimum",
    "MUL": "AddMul",
    "PAD": "AddPad",
    "PADV2": "AddPadV2",
    "QUANTIZE": "AddQuantize",
    "RELU": "AddRelu",
    "RELU6": "AddRelu6",
    "RESHAPE": "AddReshape",
    "RSQRT": "AddRsqrt",
    "SOFTMAX": "AddSoftmax",
    "SQRT": "AddSqrt",
    "SQUARE": "AddSquare",
    "SQUEEZE": "AddSqueeze",
    "SUB": "AddSub",
    "SUM": "AddSum",
    "TANH": "AddTanh",
    "TRANSPOSE": "AddTranspose",
}


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes the sources.

    Raises:
        MissingExtraError: TensorFlow Lite Micro or LiteRT is not installed.
        ExportError: it has no kernel for an operator, or gives other answers.
    """
    data = source.model.read_bytes()
    try:
        operators = micro.operators(source.model)
        if unknown := sorted(operators - METHODS.keys()):
            what = f"TensorFlow Lite Micro has no kernel for {', '.join(unknown)}"
            raise ExportError(what, remedy="choose another --precision, or another student")
        arena = micro.arena_bytes(data)
        runner = micro.load(source.model)
    except BackendError as error:
        if error.remedy in (litert.INSTALL, micro.INSTALL):  # the second brings both
            raise MissingExtraError(str(error.what), remedy=micro.INSTALL) from error
        raise ExportError("the model does not run here", got=error) from error
    apart = _checked(source, runner)
    write_golden(source, folder / "golden")
    values = {
        **told(source),
        "bytes": len(data),
        "rows": [
            ", ".join(f"0x{byte:02x}" for byte in data[at : at + COLUMNS])
            for at in range(0, len(data), COLUMNS)
        ],
        "labels_literal": [literal(label) for label in source.labels],
        "methods": sorted(METHODS[name] for name in operators),
        "arena_needed": arena,
        "arena": -(-int(arena * MARGIN) // ROUND) * ROUND,
        "steps": runner.steps_of(_table(source.spec)),
        "output": runner.output_steps,
        "temperature": source.temperature,
        "engine": f"tflite-micro {runner.versions['tflite-micro']}",
        "cases": len(source.golden),
        "apart": apart,
        "tolerance": source.tolerance,
    }
    render("microcontroller", folder, values)


def _table(spec: PreprocessSpec) -> np.ndarray:
    """Each level of each channel as the network sees it: ``(3, 256)`` float32."""
    images = -(-LEVELS // spec.size**2)
    levels = np.resize(np.arange(LEVELS, dtype=np.uint8), (images, spec.size, spec.size))
    seen = normalize(np.repeat(levels[..., None], 3, axis=3), spec)  # (images, 3, S, S)
    table: np.ndarray = np.moveaxis(seen, 1, 0).reshape(3, -1)[:, :LEVELS]
    return table


def _checked(source: AppSource, runner: micro.MicroRunner) -> float:
    """The largest difference from the golden logits, as a share of their range."""
    worst = 0.0
    for case in source.golden:
        found = runner.run(normalize(case.pixels[None], source.spec))[0]
        worst = max(worst, float(np.abs(found - case.logits).max() / np.ptp(case.logits)))
    if worst > source.tolerance:
        what = "TensorFlow Lite Micro gives other answers than the bundle's golden ones"
        got = f"logits {worst:.1%} of their range apart"
        raise ExportError(what, got=got, expected=f"at most {source.tolerance:.1%}")
    return worst

"""ONNX Runtime: explicit provider and threads, no silent fallback, proof of which kernels ran."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from runtime.backends.ort_providers import CPU, Provider
from runtime.backends.ort_providers import provider as provider_row
from runtime.backends.runner import (
    IMAGE,
    LONGEST_REASON,
    PIXELS,
    TAKES,
    TENSOR,
    BatchRunner,
    reason,
    whole_number,
)
from runtime.errors import BackendError
from runtime.files import onnx as onnx_file
from runtime.files import ort as ort_file
from runtime.host.telemetry import usable_cores

TYPES = {TENSOR: "tensor(float)", PIXELS: "tensor(uint8)", IMAGE: "tensor(uint8)"}
ROWS = {"logits": "classes", "features": "width"}  # outputs with a row for each image
REALS = frozenset(f"tensor({kind})" for kind in ("float", "float16", "double", "bfloat16"))
PRECISION_KEY = "clip2edge.precision"
DISABLED = "optimization.disable_specified_optimizers"
MIN_VERSION = (1, 18)  # the first that reads models of IR version 10, which ours are
NEEDED = f"onnxruntime>={'.'.join(map(str, MIN_VERSION))}"
MAX_THREADS = 1024
RECORD_NODES = "session.record_ep_graph_assignment_info"  # onnxruntime 1.24 and later


@dataclass(frozen=True)
class Executed:
    """A node that ran, with its kernel and its provider."""

    name: str
    kernel: str
    provider: str


class OrtRunner(BatchRunner):
    """A model in an ONNX Runtime session."""

    def __init__(self, session: Any, row: Provider, threads: int, version: str) -> None:
        self._session = session
        self.provider = row.name
        self.threads = threads
        self.versions = {"onnxruntime": version}
        self.nodes = _assigned(session, row)
        self.unit = row.unit
        inputs = session.get_inputs()
        self.outputs = tuple(output.name for output in session.get_outputs())
        takes = TAKES.get(inputs[0].name if inputs else "")
        self.takes = takes or TENSOR
        if (
            len(inputs) != 1
            or inputs[0].type != TYPES.get(takes or "")
            or len(inputs[0].shape) != 4
        ):
            got = [(value.name, value.type, value.shape) for value in inputs]
            uint8 = "one uint8 input 'pixels' (B, S, S, 3) or 'image' (1, H, W, 3)"
            expected = f"one float32 input 'images' (B, 3, S, S), or {uint8}"
            raise BackendError("model inputs", got=got, expected=expected)
        self.input = inputs[0].name
        shape = inputs[0].shape
        size = shape[2] if self.takes == TENSOR else shape[1]
        self.input_size = size if isinstance(size, int) else None
        self.fixed_batch = shape[0] if isinstance(shape[0], int) else None
        for value in session.get_outputs():
            if value.name in ROWS:
                _require_rows(value, shape[0])

    def __repr__(self) -> str:
        return f"OrtRunner({self.provider}, {self.threads} threads, outputs {list(self.outputs)})"

    def _batch(self, images: np.ndarray, outputs: Sequence[str]) -> Sequence[np.ndarray]:
        try:
            return self._session.run(list(outputs), {self.input: images})  # type: ignore[no-any-return]
        except Exception as error:  # ORT's exceptions share no base class of their own
            raise BackendError("onnxruntime refused the batch", got=reason(error)) from error


def _require_rows(value: Any, batch: int | str | None) -> None:
    """BackendError unless an output is a row of real numbers for each image, as far as it says."""
    rows = value.shape[0] if value.shape else None
    is_table = len(value.shape) in (0, 2)  # 0: not known, or one number, which no run lets pass
    is_a_row_each = not isinstance(rows, int) or rows == batch
    if value.type not in REALS or not is_table or not is_a_row_each:
        got = f"{value.type} {value.shape}"
        expected = f"real numbers, [{batch}, {ROWS[value.name]}]"
        raise BackendError(f"the model's {value.name}", got=got, expected=expected)


def load(
    model: Path,
    *,
    threads: int | None = None,
    provider: str = CPU,
    provider_options: Mapping[str, str] | None = None,
    spinning: bool = True,
    options: Any = None,
) -> OrtRunner:
    """A session on exactly ``provider`` with ``threads`` compute threads (default: usable cores).

    Threads spin only while a call runs, so that interleaved sessions do not take cores from each
    other. The CPU runs the nodes that another provider leaves: ``OrtRunner.nodes`` counts them.

    Args:
        provider: "cpu", "cuda", ... (``ort_providers.PROVIDERS``), or onnxruntime's spelling.
        provider_options: added to the row's own, e.g. ``{"device_type": "GPU"}``.
        spinning: let idle threads wait actively during a call.
        options: onnxruntime's ``SessionOptions`` to start from.

    Raises:
        BackendError: onnxruntime or the provider is absent, runs no node, or refuses the model.
        BundleError: the file is no ONNX or ORT format model, or reaches outside itself.
    """
    ort = import_onnxruntime()
    if not isinstance(provider_options, (Mapping, NoneType)):
        got = repr(provider_options)[:LONGEST_REASON]
        raise BackendError("provider_options", got=got, expected="a mapping of text to text")
    if not isinstance(options, (ort.SessionOptions, NoneType)):
        got = repr(options)[:LONGEST_REASON]
        raise BackendError("options", got=got, expected="onnxruntime.SessionOptions")
    facts = (ort_file if Path(model).suffix == ort_file.SUFFIX else onnx_file).check(Path(model))
    row = provider_row(provider)
    present = ort.get_available_providers()
    if row.name not in present:
        got = f"{', '.join(present)} present"
        raise BackendError(f"provider {row.name} is absent", got=got, remedy=row.remedy)
    count = usable_cores() if threads is None else whole_number("threads", threads, MAX_THREADS)
    options = options or ort.SessionOptions()
    options.intra_op_num_threads = 1 if row.takes_threads else count
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors; warnings about optimizations do not help a user
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if row.name != CPU:
        options.add_session_config_entry(RECORD_NODES, "1")
    elif facts is not None and facts.metadata.get(PRECISION_KEY, "").startswith("fp16"):
        # onnxruntime 1.31 crashes in this pass on float16 transformers.
        options.add_session_config_entry(DISABLED, "NchwcTransformer")
    providers = [(row.name, {**row.defaults(count), **(provider_options or {})})]
    providers += [(name, {}) for name in row.after if name in present]
    try:
        session = ort.InferenceSession(str(model), options, providers=providers)
    except Exception as error:
        is_newer = any(word in str(error) for word in ("IR version", "opset"))
        upgrade = f"this is onnxruntime {ort.__version__}: pip install --upgrade onnxruntime"
        what = f"onnxruntime cannot load {model}"
        remedy = upgrade if is_newer else None
        raise BackendError(what, got=reason(error), remedy=remedy) from error
    session.disable_fallback()
    if session.get_providers()[0] != row.name:
        what = f"onnxruntime fell back from {row.name}"
        raise BackendError(what, got=session.get_providers(), expected=row.name)
    return OrtRunner(session, row, count, ort.__version__)


def _assigned(session: Any, row: Provider) -> dict[str, int] | None:
    """Provider -> number of its nodes; None for the CPU alone, or if not reported."""
    if row.name == CPU or not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] += len(part.get_nodes())
    if not counts[row.name]:  # the CPU would do all the work in its name
        what = f"{row.name} runs no node of this model"
        remedy = "choose another provider or model"
        raise BackendError(what, got=dict(counts), remedy=remedy)
    return dict(sorted(counts.items()))


def executed(
    model: str | Path,
    size: int | None = None,
    provider: str = CPU,
    provider_options: Mapping[str, str] | None = None,
) -> list[Executed]:
    """The nodes in onnxruntime's profile of one inference; nodes compiled together show as one.

    ``size`` is S, if the graph leaves it open.

    Raises: BackendError, BundleError: as ``load``.
    """
    ort = import_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        where: Any = {"provider": provider, "provider_options": provider_options}
        runner = load(Path(model), threads=1, options=options, **where)
        edge = runner.input_size or size
        if edge is None:
            raise BackendError("input size of the model is open", expected="the size argument")
        runner.run_all(runner.blank(edge), runner.outputs)
        events = json.loads(Path(runner._session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [event for event in events if event.get("cat") == "Node"]
    ran = {node["name"]: node["args"] for node in nodes if node["name"].endswith("_kernel_time")}
    return [Executed(name, row["op_name"], row.get("provider", "")) for name, row in ran.items()]


def quantized_kernels(model: str | Path, size: int | None = None) -> dict[str, int]:
    """Kernel name -> how many nodes ran with it on the CPU; arguments and errors as ``executed``.

    QDQ nodes in a file are a wish; ``QLinearConv`` here is a fact. ``Backend.is_quantized`` judges.
    """
    return dict(sorted(Counter(node.kernel for node in executed(model, size)).items()))


def import_onnxruntime() -> Any:
    """The module; a BackendError if it is absent or too old."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        remedy = "pip install 'clip2edge[ort]' (or onnxruntime-gpu)"
        raise BackendError("onnxruntime is not installed", got=error, remedy=remedy) from error
    version = str(getattr(ort, "__version__", ""))
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    remedy = f"pip install --upgrade '{NEEDED}'"
    if len(numbers) < 2:  # what an uninstalled package leaves behind
        raise BackendError("onnxruntime is damaged", got=f"version {version!r}", remedy=remedy)
    if tuple(numbers) < MIN_VERSION:
        expected = f"{NEEDED.partition('>=')[2]} or newer, for models of IR version 10"
        raise BackendError("onnxruntime is too old", got=version, expected=expected, remedy=remedy)
    return ort

"""The grammar of a budget: ``metric op value unit [@device]``, limits separated by commas.

    p50<=5ms@orin-nano, size<=6MB, energy<=5mJ@orin-nano, drop<=2pt, top1>=90%

A limit on time, energy or memory without a device applies to the one device that the budget names,
and to the host if it names none or several.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from compress.budgets import devices
from compress.budgets.variants import HOST
from compress.engine.errors import BudgetError, lookup, nearest, require_known
from compress.engine.text import read_text
from compress.engine.yaml_text import parse_yaml


@dataclass(frozen=True)
class Metric:
    """A quantity that can be limited."""

    what: str
    unit: str  # the canonical unit of its values
    units: Mapping[str, float]  # spelling -> factor to the canonical unit
    least: float  # in the canonical unit; a limit outside least..most cannot be meant
    most: float
    on_device: bool = True  # it depends on hardware
    is_upper: bool = True  # less is better, so its limit is an upper one


TIMES = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
BYTES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
ENERGIES = {"uj": 1e-3, "µj": 1e-3, "mj": 1.0, "j": 1e3}
SPANS = (1e-4, 1e9)  # 0.1 µs to 12 days
AMOUNTS = (100.0, 1e15)  # less than the header of a model file, to a petabyte
SHARES = {"pt": 1.0, "pts": 1.0, "points": 1.0, "%": 1.0}

METRICS: dict[str, Metric] = {
    "p50": Metric("median latency of one image", "ms", TIMES, *SPANS),
    "p90": Metric("latency that nine of ten images stay below", "ms", TIMES, *SPANS),
    "p99": Metric("latency that 99 of 100 images stay below", "ms", TIMES, *SPANS),
    "load": Metric("time to load the model", "ms", TIMES, *SPANS),
    "first": Metric("time of the first image", "ms", TIMES, *SPANS),
    "energy": Metric("energy of one image", "mJ", ENERGIES, 1e-6, 1e9),
    "memory": Metric("peak memory of the process", "bytes", BYTES, *AMOUNTS),
    "size": Metric("size of the model file", "bytes", BYTES, *AMOUNTS, on_device=False),
    "drop": Metric(
        "points of top-1 lost against the teacher", "points", SHARES, 0, 100, on_device=False
    ),
    "drop_fp32": Metric(
        "points of top-1 lost against the float student", "points", SHARES, 0, 100, on_device=False
    ),
    "top1": Metric(
        "top-1 on the test split", "%", SHARES, 1e-3, 100, on_device=False, is_upper=False
    ),
}
EXAMPLE = 'e.g. --budget "p50<=5ms@host, size<=6MB, drop<=2pt"'
_LIMIT = re.compile(
    r"(?P<metric>[A-Za-z_][A-Za-z_0-9]*)\s*(?P<op><=|=<|<|>=|=>|>)\s*"
    r"(?P<value>[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*(?P<unit>[A-Za-zµ%]*)\s*"
    r"(?:@\s*(?P<device>\S+))?"
)


@dataclass(frozen=True)
class Limit:
    """One limit: ``value`` is in the metric's canonical unit, ``shown`` as the user wrote it."""

    metric: str
    op: str
    value: float
    device: str | None
    shown: str

    @property
    def text(self) -> str:
        """The limit as a budget spells it: ``p50<=5ms@orin-nano``."""
        device = f"@{self.device}" if self.device else ""
        return f"{self.metric}{self.op}{self.shown}{device}"

    @property
    def unit(self) -> str:
        """The canonical unit of ``value``."""
        return METRICS[self.metric].unit

    def holds(self, value: float) -> bool:
        """Whether a value in the canonical unit keeps the limit, apart from rounding."""
        slack = 1e-9 * max(1.0, abs(self.value))
        if self.op == "<=":
            return value <= self.value + slack
        if self.op == ">=":
            return value >= self.value - slack
        return value < self.value if self.op == "<" else value > self.value

    def excess(self, value: float) -> float:
        """By which share of the limit a value breaks it; 0 where the limit holds."""
        if self.holds(value):
            return 0.0
        return max(abs(value - self.value) / max(abs(self.value), 1e-12), 1e-9)


def parse_budget(*texts: str) -> tuple[Limit, ...]:
    """The limits of one or several expressions.

    Raises:
        BudgetError: an unreadable limit (with the nearest name), or a limit given twice.
    """
    parts = [part.strip() for text in texts for part in text.split(",")]
    limits = [_limit(part) for part in parts if part]
    named = {limit.device for limit in limits if limit.device}
    default = named.pop() if len(named) == 1 else HOST
    limits = [
        replace(limit, device=limit.device or default) if METRICS[limit.metric].on_device else limit
        for limit in limits
    ]
    if not limits and texts:
        raise BudgetError("the budget is empty", got=repr(", ".join(texts)), remedy=EXAMPLE)
    for first, second in combinations(limits, 2):
        if (first.metric, first.device) == (second.metric, second.device):
            both = f"{first.text} and {second.text}"
            raise BudgetError("a limit is given twice", got=both, expected="one of them")
    return tuple(limits)


def read_budget(texts: Iterable[str]) -> tuple[str, ...]:
    """The values of ``--budget``, expressions or YAML files of them, as one text per limit.

    A file holds a list of expressions, or a mapping such as ``p50@orin-nano: "<=5ms"``. Raises
    BudgetError for a file that cannot be read, and for what :func:`parse_budget` refuses.
    """
    expressions: list[str] = []
    for text in texts:
        is_file = Path(text).suffix.lower() in (".yaml", ".yml")
        expressions += _file(Path(text)) if is_file else [text]
    return tuple(limit.text for limit in parse_budget(*expressions))


def _limit(text: str) -> Limit:
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise BudgetError(
            "a limit cannot be read",
            got=repr(text),
            expected="metric, <= or >=, a number with its unit, and @device",
            remedy=EXAMPLE,
        )
    name = match["metric"].lower()
    unit = match["unit"].lower()
    device = match["device"]
    written = match["value"] + match["unit"]
    op = {"=<": "<=", "=>": ">="}.get(match["op"], match["op"])
    metric = lookup(METRICS, name, "unknown metric in the budget", BudgetError)
    if op.startswith("<") is not metric.is_upper:
        what = f"{name} needs {'an upper' if metric.is_upper else 'a lower'} limit"
        expected = f"{name}{'<=' if metric.is_upper else '>='}{written}"
        raise BudgetError(what, got=repr(text), expected=expected)
    if unit not in metric.units:
        what = f"{name} has another unit" if unit else f"{name} needs a unit"
        raise BudgetError(what, got=repr(text), remedy=nearest(unit, metric.units))
    if device is not None and not metric.on_device:
        what = f"{name} does not depend on a device"
        raise BudgetError(what, got=f"@{device}", expected=f"{name} without @")
    if device is not None:
        require_known(device, devices.names(), "unknown device in the budget", BudgetError)
    value = float(match["value"]) * metric.units[unit]
    if math.isinf(value):
        raise BudgetError("a limit is no finite number", got=repr(text), remedy=EXAMPLE)
    _require_meant(text, name, op, value)
    return Limit(name, op, value, device, written)


def _require_meant(text: str, name: str, op: str, value: float) -> None:
    """Refuses a limit that nothing can keep, or of a size that nobody means."""
    metric = METRICS[name]
    kept = value > 0 if op == "<" else value < metric.most if op == ">" else True
    if not (kept and metric.least <= value <= metric.most):
        most, least = show(metric.most, metric.unit), show(metric.least, metric.unit)
        strictly = "" if kept else f", and with {op} not {value:g} itself"
        what = f"no model can be asked for such a limit on {name}"
        raise BudgetError(what, got=repr(text), expected=f"{least} to {most}{strictly}")


def _file(path: Path) -> list[str]:
    try:
        loaded: Any = parse_yaml(read_text(path, BudgetError))
    except ValueError as error:
        got = f"{path}: {error}"
        raise BudgetError("the budget file cannot be read", got=got) from error
    if isinstance(loaded, dict):
        rows = [(*str(key).partition("@"), value) for key, value in loaded.items()]
        return [f"{metric}{value}{device and '@' + device}" for metric, _, device, value in rows]
    if isinstance(loaded, list) and all(isinstance(row, str) for row in loaded):
        return loaded
    raise BudgetError(
        "the budget file holds no limits",
        got=f"{path}: {type(loaded).__name__}",
        expected='["p50<=5ms@orin-nano"], a list, or {p50@orin-nano: "<=5ms"}, a mapping',
    )


def devices_of(limits: Iterable[Limit]) -> tuple[str, ...]:
    """The devices that a budget names, in its order; the host if it names none."""
    return tuple(dict.fromkeys(limit.device for limit in limits if limit.device)) or (HOST,)


def show(value: float, unit: str) -> str:
    """A value in the budget's units."""
    if unit == "bytes":
        return f"{value / 1e6:.3g} MB" if value >= 1e6 else f"{value / 1e3:.3g} kB"
    return f"{value:.3g} {unit}"

"""``compress estimate``: what a model would take on a device that is not here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from compress.budgets.calibration import calibrate, load_calibration
from compress.budgets.devices import device
from compress.budgets.estimates import estimates, models_of
from compress.budgets.table import breakdown, head, summary
from compress.engine.errors import BudgetError, ConfigError, nearest


def estimate_command(
    model: Path,
    name: str,
    precision: str | None,
    bench: Path | None,
    known: Sequence[Path],
    save: Path | None,
    as_json: bool,
) -> None:
    """Prints the estimates of a bundle or file, or their JSON.

    Raises:
        BudgetError: an unknown device, nothing to estimate, or a bench of something else.
        ConfigError: options that do not go together.
    """
    where, models = device(name), models_of(model)
    if save is not None and bench is None:
        raise ConfigError(
            "there is no calibration to save",
            got="--save",
            expected="--calibrate bench.json with it",
        )
    found = [load_calibration(path) for path in known]
    if bench is not None:
        fitted = calibrate(bench, models.values(), name)
        found.insert(0, fitted)
        if save is not None:
            fitted.save(save)
    told = estimates(models, where, found)
    if not told:
        raise BudgetError(
            "no file of this model runs there",
            got=", ".join(models),
            expected=", ".join(where.precisions),
        )
    if precision is not None and precision not in told:
        raise BudgetError(
            f"no {precision} estimate on {name}",
            got=repr(precision),
            remedy=nearest(precision, told),
        )
    chosen = (
        told[precision] if precision else min(told.values(), key=lambda estimate: estimate.p50_ms)
    )
    if as_json:
        print(
            json.dumps(
                {
                    "device": name,
                    "estimates": {key: value.to_json() for key, value in told.items()},
                },
                indent=1,
            )
        )
        return
    from rich.console import Console

    console = Console()
    for line in head(where, told):
        console.print(line, style="bold" if line.startswith("ESTIMATE") else None, highlight=False)
    console.print(summary(told))
    console.print(breakdown(chosen))
    if save is not None:
        console.print(f"calibration written to {save}")

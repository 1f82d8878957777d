"""The command ``estimate``: how fast a model runs on a device that is not here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer, echo

from compress.engine.errors import BudgetError, ConfigError, require_known
from runtime.files.atomic import require_target
from runtime.files.strict_json import to_text

commands = Typer()
WIDEST = 110  # columns of the widest table


@commands.command(epilog="Example: compress estimate bundle/ --device orin-nano")
def estimate(
    model: Annotated[Path, Argument(help="A bundle, or an ONNX file")],
    device: Annotated[str, Option(help="A device (compress list devices)")] = "host",
    precision: Annotated[
        str | None, Option(help="Whose blocks are shown. Default: the fastest")
    ] = None,
    calibrate: Annotated[
        Path | None, Option(help="A bench.json of that device and of this bundle")
    ] = None,
    calibration: Annotated[list[Path] | None, Option(help="A file that --save wrote")] = None,
    save: Annotated[Path | None, Option(help="Where to keep the calibration")] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON")] = False,
) -> None:
    """Estimate a model on a device that is not here: a roofline from its graph, always marked."""
    from compress.budgets import calibration as calibrations
    from compress.budgets import devices, table
    from compress.budgets.estimates import estimates, models_of

    if save is not None and calibrate is None:
        raise ConfigError("--save without a calibration", expected="--calibrate bench.json with it")
    if save is not None:
        require_target(save)
    profile = devices.device(device)
    models = models_of(model)
    known = [calibrations.load_calibration(path) for path in calibration or ()]
    if calibrate is not None:
        fitted = calibrations.calibrate(calibrate, models.values(), device)
        known.insert(0, fitted)
        if save is not None:
            fitted.save(save)
    rows = estimates(models, profile, known)
    if not rows:
        names = ", ".join(models)
        expected = ", ".join(profile.precisions)
        raise BudgetError("no file of this model runs there", got=names, expected=expected)
    if precision is not None:
        require_known(precision, rows, f"no {precision} estimate on {device}", BudgetError)
    if as_json:
        plain = {key: row.to_json() for key, row in rows.items()}
        echo(to_text({"device": device, "estimates": plain}, indent=1))
        return
    from rich.console import Console

    console = Console()
    console = Console(width=max(console.width, WIDEST))  # a log has 80, which hides the numbers
    for line in table.head(profile, rows):
        console.print(
            line,
            style="bold" if line.startswith("ESTIMATE") else None,
            highlight=False,
            markup=False,
        )
    console.print(table.summary(rows))
    shown = rows[precision] if precision else min(rows.values(), key=lambda row: row.p50_ms)
    console.print(table.breakdown(shown))
    if save is not None:
        echo(f"calibration written to {save}")

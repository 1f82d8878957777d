"""The composition root: what the command line does, as typed calls."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from compress.budgets.grammar import parse_budget, read_budget
from compress.engine import options as resolution
from compress.engine import plan as planning
from compress.engine.config import HostSettings, Settings
from compress.engine.errors import ConfigError
from compress.engine.options import run_name, with_root
from compress.engine.plan import Step, up_to
from compress.engine.preflight import preflight
from compress.engine.progress import SILENT, Progress
from compress.engine.runner import Run, run
from compress.stages import STAGES


def settings_for(
    dataset: str | None = None, *, budget: Iterable[str] = (), **options: Any
) -> Settings:
    """Resolves what a user names into the settings of a whole run.

    Args:
        budget: limits to search and judge by, e.g. ``["p50<=5ms@orin-nano, size<=6MB"]``, or YAML
            files of them.
        options: as :func:`compress.engine.options.settings_for` takes them.

    Raises:
        ConfigError: an unknown name or a wrong value, with the nearest valid one.
        BudgetError: a limit that cannot be read.
    """
    limits = read_budget([budget] if isinstance(budget, str) else budget)
    settings = resolution.settings_for(dataset, limits=limits, **options)
    parse_budget(*settings.budget.limits)  # those of a file and of --set too
    return settings


def work_folder(work_dir: str | Path | None = None) -> Path:
    """``work_dir``, else ``$CLIP2EDGE_WORK``, else ``./work``."""
    return Path(work_dir or os.environ.get("CLIP2EDGE_WORK") or "work").resolve()


def plan(
    settings: Settings, *, work_dir: str | Path | None = None, until: str | None = None
) -> list[Step]:
    """What a build would do, stage by stage, without doing it."""
    work = work_folder(work_dir)
    return planning.plan(STAGES, with_root(settings, work), work, until)


def explain(settings: Settings, stage: str, *, work_dir: str | Path | None = None) -> Step:
    """Why a stage would be kept or made again, field by field."""
    work = work_folder(work_dir)
    return planning.explain(STAGES, with_root(settings, work), work, stage)


def build(
    dataset: str | None = None,
    *,
    settings: Settings | None = None,
    work_dir: str | Path | None = None,
    name: str | None = None,
    until: str | None = None,
    host: HostSettings | None = None,
    progress: Progress = SILENT,
    command: str | None = None,
    benches: Iterable[str | Path] = (),
    **options: Any,
) -> Run:
    """Builds an edge classifier and returns the run: its folder, ``bundle``, ``report`` and stages.

    Takes either ``settings``, or the options of :func:`settings_for`. With a budget, the student
    that keeps it is searched
    first, and the report judges it: ``run.report["budgets"]``.

    Args:
        benches: ``bench.json`` files of this run's bundle from other devices: their limits are
            judged by measurement.

    Raises:
        BudgetUnmetError: nothing can keep the budget; said before anything is trained.
        Clip2EdgeError: see ``compress.engine.errors``.
    """
    work = work_folder(work_dir)
    resolved = with_root(settings or settings_for(dataset, **options), work)
    preflight(STAGES, resolved)
    for note in resolved.notes:
        progress.note(f"note: {note}")
    named, measured = name or run_name(resolved), [Path(bench) for bench in benches]
    if measured and not resolved.budget.limits:
        raise ConfigError(
            "there is no budget to judge by these measurements",
            got=", ".join(map(str, measured)),
            remedy=f"compress report {named} --bench FILE adds them to the report",
        )
    if resolved.budget.limits and until is not None:
        raise ConfigError(
            "a budget is judged at the end",
            got=f"--until {until}",
            expected="a whole build, or no budget",
        )
    if resolved.budget.limits and resolved.budget.search:
        from compress.search.search import search_for_run

        resolved = search_for_run(resolved, work, named, host or HostSettings(), progress)
    built = run_stages(
        resolved, work, named, until=until, host=host, progress=progress, command=command
    )
    if resolved.budget.limits:
        from compress.search.verdict import judge_run

        judge_run(built, measured)
    return built


def run_stages(
    settings: Settings,
    work: Path,
    name: str,
    *,
    until: str | None = None,
    host: HostSettings | None = None,
    progress: Progress = SILENT,
    command: str | None = None,
) -> Run:
    """The stages of resolved settings, up to ``until``: a build without its checks beforehand and
    without a budget.
    """
    stages = up_to(STAGES, until)
    return run(
        stages, settings, work, name, publish=publish, host=host, progress=progress, command=command
    )


def publish(built: Run) -> None:
    """Copies what a person looks for to the top of the run folder: the report and the bundle."""
    if "export" in built.stages:
        fresh = built.folder / ".bundle.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(built.stages["export"].path / "bundle", fresh)
        if "bench" in built.stages:
            # only which file, not the measured reason: the same build must give the same bytes
            from export.bundle.write import update_default

            update_default(fresh, built.stages["bench"].facts["ship"]["precision"])
        shutil.rmtree(built.bundle, ignore_errors=True)
        os.replace(fresh, built.bundle)
    if "report" in built.stages:
        for file in ("report.json", "report.md", "report.html"):
            shutil.copyfile(built.stages["report"].path / file, built.folder / file)

"""The composition root: what the command line does, as typed calls."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.budgets.grammar import parse_budget, read_budget
from compress.engine import options as resolution
from compress.engine import plan as planning
from compress.engine import runner
from compress.engine.config import HostSettings, Settings
from compress.engine.errors import ConfigError
from compress.engine.options import BuildOptions, run_name, with_root
from compress.engine.plan import Step, up_to
from compress.engine.preflight import preflight
from compress.engine.progress import SILENT, Progress
from compress.engine.runs import RunFolder
from compress.engine.store import Store
from compress.report.artifact import FILES, ReportArtifact
from compress.stages import STAGES
from export.artifact import ExportArtifact

if TYPE_CHECKING:
    from typing import Unpack


class Run(runner.BaseRun):
    """A build, with its report."""

    @property
    def report(self) -> dict[str, Any]:
        """report.json of a finished build."""
        return ReportArtifact(self.folder).read()


def settings_for(
    dataset: str | None = None, *, budget: Iterable[str] = (), **options: Unpack[BuildOptions]
) -> Settings:
    """The settings of a whole run, by default of the embedded dataset ``petals``.

    Args:
        dataset: a name of ``compress list datasets``.
        budget: limits to search and judge by, e.g. ``["p50<=5ms@orin-nano, size<=6MB"]``, or YAML
            files of them. A BudgetError says which cannot be read.
        options: see :class:`compress.engine.options.BuildOptions`.
    """
    limits = read_budget([budget] if isinstance(budget, str) else budget)
    settings = resolution.settings_for(dataset, limits=limits, **options)
    parse_budget(*settings.budget.limits)  # checks limits of a config file and of overrides too
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
    budget: Iterable[str] = (),
    **options: Unpack[BuildOptions],
) -> Run:
    """Builds an edge classifier and gives the run: its folder, bundle, report and stages.

    Takes either ``settings``, or the arguments of :func:`settings_for`. With a budget it first
    searches the student that keeps it, and the report judges it: ``run.report["budgets"]``.

    Args:
        work_dir: where everything is kept. Default: ``$CLIP2EDGE_WORK``, else ``./work``.
        name: of the run. Default: dataset, shots and seed.
        until: the last stage to run.
        command: what the run records as its command line.
        benches: ``bench.json`` files of this run's bundle from other devices, to judge the budget.

    Raises:
        BudgetUnmetError: no candidate keeps the budget; raised before any training.
        Clip2EdgeError: see ``compress.engine.errors``.
    """
    work = work_folder(work_dir)
    settings = with_root(settings or settings_for(dataset, budget=budget, **options), work)
    preflight(STAGES, settings)
    for note in settings.notes:
        progress.note(f"note: {note}")
    name = name or run_name(settings)
    limits = settings.budget.limits
    measured = [Path(bench) for bench in benches]
    if measured and not limits:
        remedy = f"compress report {name} --bench FILE adds them to the report"
        raise ConfigError("there is no budget to judge by these measurements", remedy=remedy)
    if limits and until is not None:
        raise ConfigError("a budget is judged at the end of a whole build", got=f"--until {until}")
    if limits and settings.budget.search:
        from compress.search.search import search_for_run

        settings = search_for_run(settings, work, name, host or HostSettings(), progress)
    built = run_stages(
        settings, work, name, until=until, host=host, progress=progress, command=command
    )
    if limits:
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
    """Runs the stages of resolved settings: a build without preflight and budget."""
    return runner.run(
        up_to(STAGES, until),
        Run(name, RunFolder.of(work, name).path, settings),
        Store.of(work),
        publish=publish,
        host=host,
        progress=progress,
        command=command,
    )


def publish(built: Run) -> None:
    """Copies the bundle and the report to the top of the run folder."""
    if "export" in built.stages:
        fresh = built.folder / ".bundle.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(ExportArtifact(built.stages["export"].path).bundle, fresh)
        if "bench" in built.stages:
            # the file alone, not the measured reason: the same build must give the same bytes
            from export.bundle.write import update_default

            update_default(fresh, built.stages["bench"].facts["ship"]["precision"])
        shutil.rmtree(built.bundle, ignore_errors=True)
        os.replace(fresh, built.bundle)
    if "report" in built.stages:
        for file in FILES:
            shutil.copyfile(built.stages["report"].path / file, built.folder / file)

"""The composition root: what the command line does, as typed calls."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.budgets.grammar import parse_budget, read_budget
from compress.engine import options as resolution
from compress.engine import plan as planning
from compress.engine import ranks, runner
from compress.engine.config import HostSettings, Settings
from compress.engine.disk import require_folder, require_no_file
from compress.engine.errors import BudgetError, Clip2EdgeError, ConfigError, ExplainedError, joined
from compress.engine.executors.table import executor_row, require_executor
from compress.engine.hush import hushed
from compress.engine.options import BuildOptions, run_name, with_root
from compress.engine.plan import Step, up_to
from compress.engine.preflight import Check, obstacles, preflight
from compress.engine.progress import SILENT, Progress, default_progress
from compress.engine.rehearsal import rehearse
from compress.engine.remote.runs import mirrored
from compress.engine.remote.storage import is_url, mirror_of
from compress.engine.runs import RunFolder, as_plain_name, plain_name
from compress.engine.same_name import replaced, require_same_images
from compress.engine.slices import Slice, make_slice
from compress.engine.store import Store
from compress.engine.system_errors import system_errors
from compress.engine.text import user_path
from compress.report.artifact import ReportArtifact
from compress.stages import STAGES
from export.artifact import ExportArtifact

if TYPE_CHECKING:
    from typing import Unpack

    from compress.assess.result import Evaluation
    from compress.cost.estimate import StageEstimate


class Run(runner.BaseRun):
    """A build, with its report."""

    @property
    def report(self) -> dict[str, Any]:
        """report.json of a finished build."""
        return ReportArtifact(self.folder).read()

    def _repr_html_(self) -> str:
        """What a notebook shows: the results as a table and a picture, or what there is so far."""
        from compress.report.notebook import as_html

        finished = "report" in self.stages
        return as_html(self.report) if finished else f"<pre>{escape(repr(self))}</pre>"


def settings_for(
    dataset: str | None = None, *, budget: Iterable[str] = (), **options: Unpack[BuildOptions]
) -> Settings:
    """The settings of a whole run, by default of the embedded dataset ``petals``.

    Args:
        dataset: a name of ``compress list datasets``.
        budget: limits to search and judge by, e.g. ``["p50<=5ms@orin-nano, size<=6MB"]``, or YAML
            files of them. A BudgetError says which cannot be read.
        options: see :class:`compress.engine.options.BuildOptions`.

    Raises ConfigError that lists all that is wrong, BudgetError for a budget alone.
    """
    problems: list[ExplainedError] = []
    limits: tuple[str, ...] = ()
    try:
        limits = read_budget([budget] if isinstance(budget, str) else budget)
    except BudgetError as error:
        problems.append(error)
    try:
        settings = resolution.settings_for(dataset, limits=limits, **options)
        parse_budget(*settings.budget.limits)  # checks limits of a config file and of overrides too
    except Clip2EdgeError as error:
        problems.append(error)
        rest: Settings | None = getattr(error, "rest", None)
        if rest is not None:  # it is checked too, for one list of all
            work = work_folder()
            problems += obstacles(STAGES, with_root(rest, work), Store.of(work))
    if problems:
        raise joined(problems, "these settings cannot be built")
    return settings


def work_folder(work_dir: str | Path | None = None) -> Path:
    """``work_dir``, else ``$CLIP2EDGE_WORK``, else ``./work``; of object storage its mirror here.

    Raises:
        MissingExtraError: a URL whose storage needs a package that is not installed.
        StoreError: a storage that cannot be reached.
    """
    given = str(work_dir or os.environ.get("CLIP2EDGE_WORK") or "work")
    if is_url(given):
        return mirror_of(given)
    return Path(os.path.realpath(user_path(given.removeprefix("file://"))))


@hushed()
def plan(
    settings: Settings,
    *,
    work_dir: str | Path | None = None,
    until: str | None = None,
    name: str | None = None,
    benches: Iterable[str | Path] = (),
    engine: str = "local",
    progress: Progress = SILENT,
) -> list[Step]:
    """What a build would do, stage by stage, without doing it.

    What only this machine lacks (downloads, packages, room) is a note of ``progress``.

    Raises:
        Clip2EdgeError: what :func:`build` would refuse with the same arguments.
    """
    work = work_folder(work_dir)
    settings = with_root(settings, work)
    name = run_name(settings) if name is None else name
    measured = [user_path(bench) for bench in benches]
    own: list[Check] = [partial(executor_row, engine)]  # its cluster is not looked for
    own += checks_of_run(settings, work, name, until, measured, HostSettings())
    rehearse(STAGES, settings, Store.of(work), own, progress)
    return planning.plan(STAGES, settings, work, until)


def estimate(
    settings: Settings,
    *,
    work_dir: str | Path | None = None,
    until: str | None = None,
    steps: Sequence[Step] | None = None,
) -> list[StageEstimate]:
    """What the stages that are to be made would cost: images, FLOPs, disk, hours on devices.

    Nothing is downloaded, loaded or made; networks are counted by shape alone.

    Args:
        steps: what :func:`plan` gave for the same arguments, if it is known already.
    """
    from compress.cost.estimate import estimates

    work = work_folder(work_dir)
    settings = with_root(settings, work)
    planned = planning.plan(STAGES, settings, work, until) if steps is None else steps
    return estimates(settings, planned, Store.of(work))


def explain(settings: Settings, stage: str, *, work_dir: str | Path | None = None) -> Step:
    """Why a stage would be kept or made again, field by field."""
    work = work_folder(work_dir)
    return planning.explain(STAGES, with_root(settings, work), work, stage)


@hushed()
def build(
    dataset: str | None = None,
    *,
    settings: Settings | None = None,
    work_dir: str | Path | None = None,
    name: str | None = None,
    until: str | None = None,
    host: HostSettings | None = None,
    progress: Progress | None = None,
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
        progress: what hears of it. Default: bars in a notebook, nothing elsewhere.
        benches: ``bench.json`` files of this run's bundle from other devices, to judge the budget.

    Raises:
        BudgetUnmetError: no candidate keeps the budget; raised before any training.
        Clip2EdgeError: see ``compress.engine.errors``.
    """
    work = work_folder(work_dir)
    settings = with_root(settings or settings_for(dataset, budget=budget, **options), work)
    host, progress = host or HostSettings(), progress or default_progress()
    ranks.connect(host.device)
    name = run_name(settings) if name is None else name
    limits = settings.budget.limits
    measured = [user_path(bench) for bench in benches]
    further = checks_of_run(settings, work, name, until, measured, host)
    done = planning.nothing_to_make(STAGES, settings, work, until)
    preflight(() if done else STAGES, settings, Store.of(work), further)
    for note in settings.notes:
        progress.note(f"note: {note}")
    if limits and settings.budget.search:
        from compress.search.search import search_for_run

        with system_errors(work):
            settings = search_for_run(settings, work, name, host, progress)
    with mirrored(work, name):
        if note := replaced(RunFolder.of(work, name), settings):
            progress.note(note)
        built = run_stages(
            settings, work, name, until=until, host=host, progress=progress, command=command
        )
        if limits:
            from compress.search.verdict import judge_run

            with system_errors(work):
                judge_run(built, measured)
    ranks.dismiss()
    return built


def follow(*, work_dir: str | Path | None = None, host: HostSettings | None = None) -> None:
    """What the ranks of torchrun but the first do: they train along, until its build is finished.

    Raises:
        RankError: the others cannot be reached, or rank 0 has ended early.
        StoreError: this machine does not see the work folder of rank 0.
    """
    host = host or HostSettings()
    store = Store.of(work_folder(work_dir))
    ranks.connect(host.device)
    with system_errors(store.root):
        runner.follow(store, host)


def shard(
    settings: Settings,
    stage: str,
    part: Slice,
    *,
    work_dir: str | Path | None = None,
    host: HostSettings | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """Makes a slice of a stage's images or labels, which the next build finds; gives its files.

    Raises:
        ConfigError: a stage without slices, or no such slice.
        StoreError: a stage before it is not finished.
    """
    work = work_folder(work_dir)
    host = host or HostSettings()
    require_executor(host)
    settings = with_root(settings, work)
    return make_slice(STAGES, stage, part, settings, Store.of(work), host, progress)


def checks_of_run(
    settings: Settings,
    work: Path,
    name: str,
    until: str | None,
    benches: Sequence[Path],
    host: HostSettings,
) -> Iterator[Check]:
    """What a run refuses besides its stages: its engine, its name, its folders, its budget."""
    yield partial(require_executor, host)
    yield partial(up_to, STAGES, until)
    yield partial(plain_name, name)
    yield partial(require_folder, Store.of(work).root)
    run = RunFolder.of(work, as_plain_name(name))
    yield partial(require_folder, run.path)
    yield partial(require_no_file, run.bundle)
    yield partial(require_same_images, run, settings)
    yield partial(_require_budget, settings.budget.limits, name, until, benches)
    if settings.budget.calibration:
        from compress.budgets.calibration import load_calibration

        yield from (partial(load_calibration, path) for path in settings.budget.calibration)
    if benches:
        from compress.report.merge import read

        yield from (partial(read, bench) for bench in benches)
    if settings.budget.limits and settings.budget.search:
        from compress.distill.students import check_architecture

        yield from (partial(check_architecture, student) for student in settings.budget.students)


def _require_budget(
    limits: Sequence[str], name: str, until: str | None, benches: Sequence[Path]
) -> None:
    if benches and not limits:
        remedy = f"compress report {shlex.quote(name)} --bench FILE adds them to the report"
        raise ConfigError(
            "there is no budget to judge by these measurements",
            got=", ".join(map(str, benches)),
            expected="a budget: --budget",
            remedy=remedy,
        )
    if limits and until is not None:
        raise ConfigError("a budget is judged at the end of a whole build", got=f"--until {until}")


@hushed()
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
        publish=partial(publish, progress=progress),
        host=host,
        progress=progress,
        command=command,
    )


def publish(built: Run, progress: Progress = SILENT) -> None:
    """Puts the bundle and the report at the top of the run folder, additions kept."""
    same_model = False
    notes: list[str] = []
    if "export" in built.stages:
        from export.bundle.publish import publish_bundle

        # the file alone, not the measured reason: the same build must give the same bytes
        ship = built.stages["bench"].facts["ship"]["precision"] if "bench" in built.stages else None
        source = ExportArtifact(built.stages["export"].path).bundle
        card = None
        if "report" in built.stages:
            from compress.report.publish import measured_card

            card = measured_card(built.stages["report"].path, source)
        published = publish_bundle(source, built.bundle, ship, card)
        same_model = published.same_model
        notes += published.notes
        if not same_model:
            RunFolder(built.folder).sensitivity.unlink(missing_ok=True)
    if "report" in built.stages:
        from compress.report.publish import publish_report

        stage = built.stages["report"].path
        notes += publish_report(stage, built.folder, same_model=same_model)
    for note in notes:
        progress.note(note)


def evaluate(
    bundle: str | Path,
    folder: str | Path,
    *,
    split: str | None = None,
    precision: str = "auto",
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """A finished bundle on a labeled folder or archive that its build never saw.

    Args:
        bundle: a bundle's folder, a zipped one, or a self-describing model file.
        folder: any layout that a build reads. Classes are matched with the bundle's labels by
            name, prompt or synonyms; what matches none is in ``tested`` of the result.
        split: which images, e.g. "val". Default: the test split, all images without one.

    Raises:
        DataError: no class is a label of the bundle, or no image can be read.
        EdgeError: a bundle that is damaged or too demanding, see ``runtime.Classifier.load``.
    """
    from compress.assess.measure import evaluate_bundle
    from runtime.commands.trial import Stranger, require_bounded

    path = user_path(bundle)
    require_bounded([Stranger(path, (precision,))], threads)
    return evaluate_bundle(
        path, folder, split=split, precision=precision, threads=threads, progress=progress
    )

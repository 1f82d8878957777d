"""``compress report``: the report of a finished run once more, with benches of other devices.

Everything comes from report.json; only pictures and curves are read from the stages that the run
folder links to. Fields that an older version did not write are filled in if the stages have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.bench.accuracy import changed
from compress.bench.artifact import BenchArtifact
from compress.budgets.judge import rejudged
from compress.data.artifact import DataArtifact
from compress.engine.errors import ConfigError
from compress.engine.runs import RunFolder
from compress.engine.store import Artifact
from compress.label.artifact import LabelArtifact
from compress.report.artifact import ReportArtifact
from compress.report.card import write_card
from compress.report.images import images_part
from compress.report.merge import merge
from compress.report.model.report import Report, parse
from compress.report.page import Material, render_html, render_markdown
from compress.report.stage import material
from compress.teacher.artifact import TeacherArtifact

# stages that the page takes pictures and curves from
PICTURED = ("data", "generate", "distill", "quantize", "bench")
WITHOUT_PICTURES = (
    "the stages of this run are not at hand: this rendering has no pictures of images and no "
    "training curves"
)


def rerender(run: Path, benches: Sequence[Path] = (), out: Path | None = None) -> Report:
    """Writes report.json, report.md and report.html to ``out`` (default: the run's folder).

    Args:
        run: the run's folder: report.json, bundle/, and links to its stages.
        benches: bench.json files of this bundle from other devices.

    Raises:
        ConfigError: not the folder of a finished run, or of one that is being built anew.
        BenchFileError: a bench.json that is damaged or measured another bundle.
        BudgetError: a limit in report.json that cannot be read, so that it cannot be judged again.
        Clip2EdgeError: a report.json that does not keep its contract.
    """
    files = ReportArtifact(out or run)
    before = load(run)
    RunFolder(run).require_whole()
    files.require_writable()
    plain = merge(completed(before, run), benches, run / "bundle")
    if benches:
        plain = rejudged(plain, run / "bundle")
    report = shown = parse(plain)
    pictures, folders = Material(), RunFolder(run).stages()
    if all(name in folders and folders[name].is_dir() for name in PICTURED):
        stages = {name: Artifact(name, folders[name], {}, "") for name in PICTURED}
        pictures = material(report, stages)
    else:
        shown = report.model_copy(update={"states": [*report.states, WITHOUT_PICTURES]})
    files.folder.mkdir(parents=True, exist_ok=True)
    files.write_json(plain)
    files.write_pages(render_markdown(shown), render_html(shown, pictures))
    write_card(files.folder, run / "bundle", report)
    return report


def load(run: Path) -> dict[str, object]:
    """The report.json of a run, checked.

    Raises:
        ConfigError: there is none, or it is not JSON.
        Clip2EdgeError: it does not keep its contract.
    """
    try:
        plain = ReportArtifact(run).read()
    except FileNotFoundError as error:
        what, expected = "this is not the folder of a finished run", "report.json and bundle/"
        remedy = "compress show lists the runs; compress build finishes one"
        raise ConfigError(what, got=str(run), expected=expected, remedy=remedy) from error
    except (OSError, ValueError, RecursionError) as error:
        what, got = "report.json cannot be read", f"{run}: {error}"
        raise ConfigError(what, got=got, remedy="build the run again") from error
    parse(plain)
    return plain


def completed(plain: Mapping[str, Any], run: Path) -> dict[str, object]:
    """The report with fields that its version did not write, from the run's predictions."""
    out: dict[str, object] = {"candidates": [], "devices": [], "changes": {}}
    out |= {"sensitivity": None, "breakdown": None, **plain}
    if not out["changes"] and plain["accuracy"]:
        folders = RunFolder(run).stages()
        bench = BenchArtifact(folders.get("bench", run))
        if "data" in folders and bench.has_predictions:
            out["changes"] = changed(DataArtifact(folders["data"]), bench.predictions().logits)
    folders = RunFolder(run).stages()
    if not out.get("images") and {"data", "teacher", "label"} <= folders.keys():
        label, teacher = LabelArtifact(folders["label"]), TeacherArtifact(folders["teacher"])
        out["images"] = images_part(DataArtifact(folders["data"]), label, teacher)
    return out


def add_sensitivity(run: Path, result: Mapping[str, Any]) -> bool:
    """Puts a sensitivity into the run's report and renders it again; False without a report.

    Raises: Clip2EdgeError: a report.json that does not keep its contract.
    """
    files = ReportArtifact(run)
    if not files.exists:
        return False
    kept = {k: v for k, v in result.items() if k not in ("candidates", "schema", "kind")}
    files.write_json({**load(run), "sensitivity": kept})
    rerender(run)
    return True

"""``compress report``: a finished run's report once more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from finished_runs import Finished
from report_devices import ORIN, bench_json, three_devices
from report_page import Page
from report_runs import all_three, written

from compress.engine.errors import BenchFileError, Clip2EdgeError, ConfigError, StoreError
from compress.report.model import report as model
from compress.report.rerender import WITHOUT_PICTURES, rerender
from compress.report.sections import devices


def read(folder: Path) -> dict[str, Any]:
    """The folder's report.json."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def test_without_devices_the_report_stays_what_it_was(finished: Finished, run: Path) -> None:
    rerender(run)
    assert read(run) == read(finished.folder)
    page, before = (run / "report.html").read_text(), (finished.folder / "report.html").read_text()
    assert page == before, "the pictures come from the stages, the rest from report.json"
    assert 'id="devices"' not in page and "1 device" not in page


def test_a_merged_measurement_takes_the_place_of_an_estimate(run: Path, tmp_path: Path) -> None:
    """A limit on a device without measurements is judged again once its bench.json is there."""
    report = read(run)
    budget = {
        "what": "p50<=1ms@pi5",
        "metric": "p50",
        "device": "pi5",
        "limit": 1.0,
        "value": 0.9,
        "unit": "ms",
        "basis": "estimate",
        "pass": True,
        "why": "roofline",
    }
    (run / "report.json").write_text(json.dumps({**report, "budgets": [budget]}))
    pi = three_devices(run / "bundle")["pi"]
    judged = rerender(run, [written(tmp_path, pi)]).budgets[0]
    assert judged.basis == "measured" and judged.value in [row["p50_ms"] for row in pi["rows"]]
    assert "estimate" not in devices.marks(model.parse(read(run)))


def test_an_older_report_is_completed_from_its_predictions(finished: Finished, run: Path) -> None:
    older = read(run)
    added = ("changes", "devices", "candidates", "sensitivity", "breakdown")
    for name in added:
        del older[name]
    for line in older["latency"]:
        line.pop("quantiles_ms")
    (run / "report.json").write_text(json.dumps(older))
    rerender(run)
    assert read(run)["changes"] == read(finished.folder)["changes"]
    assert 'class="ecdf' not in (run / "report.html").read_text(), (
        "what was not stored is not drawn"
    )


def test_a_run_without_its_stages_says_that_pictures_are_missing(run: Path) -> None:
    for name in ("generate", "data"):
        (run / name).unlink()
    report = rerender(run)
    page = (run / "report.html").read_text()
    assert WITHOUT_PICTURES in page and 'id="images"' not in page and Page(page).open == []
    assert WITHOUT_PICTURES not in report.states, "that is about this rendering, not about the run"


def test_a_run_that_is_half_rebuilt_is_refused(finished: Finished, run: Path) -> None:
    """Pictures of new data beside old figures would be wrong."""
    before = (run / "report.json").read_bytes()
    for name, needed in (("data", {}), ("bench", {"data": "of other settings"})):
        (run / name).unlink()
        shutil.copytree(finished.stages[name].path, run.parent / name)
        manifest = {"content": f"the {name} of this run", "identity": {"inputs": needed}}
        (run.parent / name / "stage.json").write_text(json.dumps(manifest))
        (run / name).symlink_to(run.parent / name)
    with pytest.raises(ConfigError, match="half rebuilt"):
        rerender(run)
    assert (run / "report.json").read_bytes() == before and not (run / "report.html").exists()


def test_no_run_and_no_bundle_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not the folder of a finished run"):
        rerender(tmp_path)
    file = written(tmp_path, bench_json(run / "bundle", ORIN))
    (run / "bundle").unlink()
    with pytest.raises(BenchFileError, match="no bundle"):
        rerender(run, [file])
    (run / "report.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        rerender(run)
    (run / "report.json").write_text('{"schema": 1}')
    with pytest.raises(Clip2EdgeError, match="headline"):
        rerender(run)


def test_an_output_that_cannot_be_written_is_told_before_any_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.report.rerender.merge", lambda *_: pytest.fail("it works"))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="nothing can be written there"):
        rerender(run, out=tmp_path / "file" / "out")
    (tmp_path / "out" / "report.html").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        rerender(run, out=tmp_path / "out")
    assert (tmp_path / "file").read_text() == "mine"


def test_the_command_merges_and_refuses(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from compress import cli

    files = all_three(run, tmp_path)
    options = [word for file in files for word in ("--bench", str(file))]
    monkeypatch.setattr(
        "sys.argv", ["compress", "report", str(run), *options, "--out", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().out
    assert (
        ended.value.code == 0
        and "With its fastest file, one image takes from" in said
        and str(tmp_path / "out" / "report.html") in said
    )
    foreign = json.loads(files[0].read_text())
    foreign["bundle"]["manifest_sha256"] = "a" * 64
    foreign["rows"][2]["file_sha256"] = "b" * 64
    monkeypatch.setattr(
        "sys.argv", ["compress", "report", str(run), "--bench", str(written(tmp_path, foreign))]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    error = capsys.readouterr().err
    assert (
        ended.value.code == 2
        and error.startswith("BenchFileError:")
        and "measured another bundle" in error
    )

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import settled, stage_context

import runtime
from compress.distill.artifact import DistillArtifact
from compress.engine.errors import ConfigError, DataError
from compress.engine.runs import find_run, open_run, require_stages
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.quantize import stage as quantize
from compress.report.model.device import Sensitivity
from export import stage as export
from export.sensitivity import measure as sensitivity
from export.sensitivity.add import reason_against
from export.sensitivity.held_out import drawn, held_out_views
from export.sensitivity.measure import Options, difference_ms, gain, slower
from export.sensitivity.mixtures import Mixtures
from runtime import golden
from runtime.bench import latency

RUINED = "layer3"


def ruin(folder: Path) -> None:
    """A weight of each kernel in a stage becomes so large that int8 has no steps left for the
    others. It meets a channel
    that is always zero: in float nothing changes.
    """
    student = DistillArtifact(folder).student()
    with torch.no_grad():
        for module in student.modules():  # timm starts with residual branches that add nothing
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(1)
        for block in student.trunk.get_submodule(RUINED):
            block.bn1.weight[0], block.bn1.bias[0] = 0, -1
            block.conv2.weight[:, 0] = 100 * block.conv2.weight.std()
    settled(student)
    with torch.no_grad():
        student.head.weight.copy_(
            5 * torch.randn_like(student.head.weight)
        )  # answers that differ between images
    DistillArtifact(folder).write_student(student)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    """A run, finished up to its bundle, whose student has one ruined block; calibrated, not
    trained.
    """
    root = tmp_path_factory.mktemp("sensitivity")
    ctx = stage_context(root, "quantize", quantize={"mode": "ptq"})
    ruin(ctx.inputs["distill"].path)
    inputs = {
        **ctx.inputs,
        "quantize": Artifact("quantize", ctx.folder, quantize.run(ctx), "quantize"),
    }
    exported = StageContext(ctx.settings, inputs, root / "export", ctx.seed)
    exported.folder.mkdir()
    inputs["export"] = Artifact("export", exported.folder, export.run(exported), "export")
    return StageContext(ctx.settings, inputs, root, ctx.seed)


def fresh(finished: StageContext, folder: Path) -> StageContext:
    """The same run in a folder of its own, with a copy of its bundle."""
    shutil.copytree(finished.inputs["export"].path / "bundle", folder / "bundle")
    return StageContext(finished.settings, finished.inputs, folder, finished.seed)


QUICK = Options(images=48, seconds=0.05)
NOT_TIMED = (
    "block",
    "paths",
    "nodes",
    "drop_points",
    "drop_ci95",
    "kl",
    "regained_points",
    "size_saved_bytes",
)


def untimed(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in NOT_TIMED} for row in result["blocks"]]


def test_the_ruined_block_is_found_and_the_result_keeps_the_contract(
    finished: StageContext, tmp_path: Path
) -> None:
    result = sensitivity.run(fresh(finished, tmp_path), QUICK)
    stored = json.loads((tmp_path / "sensitivity.json").read_text())
    assert stored == json.loads(json.dumps(result))
    blocks = {row["block"]: row for row in stored["blocks"]}
    assert max(blocks, key=lambda name: blocks[name]["kl"]) == RUINED
    assert blocks[RUINED]["kl"] > 10 * max(
        row["kl"] for name, row in blocks.items() if name != RUINED
    )
    Sensitivity.model_validate(stored)
    front = stored["front"]
    names = [tuple(point["float_blocks"]) for point in front]
    assert () in names and tuple(blocks) in names and 0 <= stored["chosen"] < len(front)
    chosen = front[stored["chosen"]]
    assert chosen["drop_points"] <= stored["gate_points"] + 1e-9
    assert [row["block"] for row in stored["blocks"] if row["kept"] == "fp32"] == chosen[
        "float_blocks"
    ]
    assert stored["verdict"].startswith(("Quantize", "Do not quantize"))
    assert not (tmp_path / "bundle" / "model.mixed.onnx").exists() and stored["written"] is None
    assert RUINED in "\n".join(sensitivity.lines(stored))


def test_accuracy_repeats_whatever_the_clock_says(finished: StageContext, tmp_path: Path) -> None:
    first, second = (
        sensitivity.block_costs(finished, mixtures_of(finished, tmp_path / name))
        for name in ("first", "second")
    )
    assert first == second
    assert untimed({"blocks": first}) == [dict(row) for row in first]  # nothing in it is a time


def mixtures_of(ctx: StageContext, folder: Path, limit: int = 10) -> Mixtures:
    folder.mkdir()
    return Mixtures(ctx, held_out_views(ctx, 48), folder, limit)


def test_mixtures_end_in_the_files_of_the_bundle(finished: StageContext, tmp_path: Path) -> None:
    mixtures = mixtures_of(finished, tmp_path / "files")
    bundle = finished.inputs["export"].path / "bundle"
    assert mixtures.file(frozenset()) == bundle / "model.int8.onnx"
    assert mixtures.file(mixtures.all) == bundle / "model.fp32.onnx"
    # calibration moves no weight: without quantizers the student is the float one
    plain, fp32 = mixtures.logits(mixtures.unrounded), mixtures.logits(mixtures.file(mixtures.all))
    assert np.abs(plain - fp32).max() < 1e-3 * np.ptp(fp32)


def test_leaving_the_ruined_block_in_float_repairs_the_student(
    finished: StageContext, tmp_path: Path
) -> None:
    mixtures = mixtures_of(finished, tmp_path / "repair")
    whole = mixtures.unrounded
    broken = mixtures.divergence(whole, mixtures.file(frozenset()))
    repaired = mixtures.divergence(whole, mixtures.file(frozenset({RUINED})))
    assert repaired < 0.2 * broken


def test_an_added_mixture_is_a_model_of_the_bundle(
    finished: StageContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of this test decides for the mixture: which file wins on a busy machine proves
    nothing.
    """
    ctx = fresh(finished, tmp_path)
    wanted = frozenset({RUINED})

    def timed(
        self: Mixtures, mixtures: list[frozenset[str]], seconds: float, threads: int
    ) -> dict[Any, Any]:
        rng = np.random.Generator(np.random.Philox(0))
        return {
            names: latency.Samples(
                str(place), rng.normal(1.0 if names == wanted else 2.0, 1e-3, (40, 4)) * 1e6
            )
            for place, names in enumerate(dict.fromkeys(mixtures))
        }

    monkeypatch.setattr(Mixtures, "time", timed)
    monkeypatch.setattr(Mixtures, "drop", lambda self, before, after, seed: (0.0, (0.0, 0.0)))
    result = sensitivity.run(ctx, QUICK, write=True)
    assert result["written"]["added"] and list(
        result["front"][result["chosen"]]["float_blocks"]
    ) == [RUINED]
    assert result["repeat"] == f"--set 'quantize.float_blocks=[\"{RUINED}\"]'"
    bundle = tmp_path / "bundle"
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["default"] == "mixed" and manifest["targets"]["mixed"]["state"] == "verified"
    assert not golden.first_difference(golden.verify(bundle))
    assert {"logits mixed", "logits int8"} <= {
        step.name for step in golden.verify(bundle) if step.state == golden.OK
    }
    classifier = runtime.Classifier.load(bundle, threads=1)
    assert classifier.precision == "mixed" and classifier.labels[0] == "class 0"
    first = (bundle / "model.mixed.onnx").read_bytes()

    again = tmp_path / "again"
    again.mkdir()
    sensitivity.run(fresh(finished, again), QUICK, write=True)
    assert (
        again / "bundle" / "model.mixed.onnx"
    ).read_bytes() == first  # nothing of the scratch folder or the clock


def result_of(
    chosen: int, low_int8: float, low_fp32: float, int8_drop: float = 0.0
) -> dict[str, Any]:
    points = [
        {"float_blocks": names, "top1": 0.9, "drop_points": drop, "p50_ms": 1.0, "size_bytes": 10}
        for names, drop in (([], int8_drop), (["a"], 0.0), (["a", "b"], 0.0))
    ]
    speedups = {
        f"chosen_vs_{name}": {"ci95": [low, 2.0]}
        for name, low in (("int8", low_int8), ("fp32", low_fp32))
    }
    return {
        "front": points,
        "chosen": chosen,
        "blocks": [{}, {}],
        "candidates": points,
        "speedups": speedups,
    }


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (result_of(0, 1.2, 1.2), "int8, which the bundle holds"),
        (result_of(2, 1.2, 1.2), "fp32, which the bundle holds"),
        (result_of(1, 0.99, 1.2), "not faster than int8"),
        (result_of(1, 1.2, 1.0), "not faster than fp32"),
        (result_of(1, 0.8, 0.9, int8_drop=3.0), "not faster than fp32"),
        (result_of(1, 1.1, 1.1), None),
        (result_of(1, 0.8, 1.1, int8_drop=3.0), None),  # int8 is faster and may not ship
    ],
)
def test_only_a_mixture_that_beats_both_pure_files_is_added(
    result: dict[str, Any], says: str | None
) -> None:
    against = reason_against(result["front"], result["chosen"], result)
    assert against is None if says is None else says in str(against)


def series(milliseconds: float, noise: float = 0.01, seed: int = 0) -> latency.Samples:
    rng = np.random.Generator(np.random.Philox(seed))
    return latency.Samples("", (milliseconds + rng.normal(0, noise, (60, 3))) * 1e6)


def test_gain_has_a_sign_and_an_interval() -> None:
    saved = gain(series(2.0), series(2.5, seed=1), 0)
    assert saved["saved_ms"] == pytest.approx(0.5, abs=0.01)
    assert saved["saved_ci95_ms"][0] <= saved["saved_ms"] <= saved["saved_ci95_ms"][1]
    assert gain(series(2.0), series(1.5, seed=1), 0)["saved_ms"] < 0  # int8 slows this block down
    low, high = difference_ms(series(2.0), series(2.0, seed=1), 0)
    assert low < 0 < high
    assert slower(series(2.5), series(2.0, seed=1), 0) and not slower(
        series(2.0), series(2.0, seed=1), 0
    )


def test_greedy_leaves_int8_where_it_is_worth_least() -> None:
    rows = [
        {"block": "slow in int8", "saved_ms": -0.5, "kl": 0.0},
        {"block": "costly", "saved_ms": 0.1, "kl": 0.5},
        {"block": "good", "saved_ms": 2.0, "kl": 0.01},
        {"block": "better", "saved_ms": 3.0, "kl": 0.001},
    ]
    found = sensitivity.greedy(rows)
    assert found[0] == frozenset({"slow in int8", "costly"})
    assert frozenset({"slow in int8", "costly", "good"}) in found
    assert all(2 <= len(names) < len(rows) for names in found) and len(set(found)) == len(found)


def test_views_are_new_even_and_repeat(finished: StageContext) -> None:
    views = held_out_views(finished, 40)
    assert views.pixels.shape == (40, 32, 32, 3) and views.counts == {"real": 20, "synthetic": 20}
    assert np.abs(np.bincount(views.labels, minlength=5) - 8).max() <= 1
    assert np.array_equal(views.pixels, held_out_views(finished, 40).pixels)
    assert len({view.tobytes() for view in views.pixels}) == 40
    rows = np.array([3, 5, 9, 11])
    assert drawn(rows, 6) == [(3, 0), (5, 0), (9, 0), (11, 0), (3, 1), (11, 1)]
    with pytest.raises(DataError, match="no images to judge"):
        held_out_views(finished, 1)


def test_a_run_that_is_not_finished_is_refused(finished: StageContext) -> None:
    some = {name: stage for name, stage in finished.inputs.items() if name != "export"}
    ctx = StageContext(finished.settings, some, finished.folder, finished.seed)
    with pytest.raises(ConfigError, match="not finished"):
        sensitivity.run(ctx, QUICK)
    require_stages(ctx, "data", "distill")


def test_runs_are_found_by_name_and_by_folder(smoke: Path, smoke_work: Path) -> None:
    assert find_run("smoke", smoke_work) == find_run(smoke, Path("elsewhere")) == smoke.resolve()
    with pytest.raises(ConfigError, match="smoke"):
        find_run("smok", smoke_work)
    ctx = open_run(smoke)
    assert ctx.seed == 0 and {"data", "distill", "quantize", "export", "report"} <= set(ctx.inputs)


def test_the_command_tells_and_renders_the_report(smoke_work: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from compress.cli.runs import commands

    work = tmp_path / "work"
    shutil.copytree(smoke_work, work, symlinks=True)
    arguments = [
        "sensitivity",
        "smoke",
        "--work-dir",
        str(work),
        "--images",
        "32",
        "--seconds",
        "0.05",
        "--quiet",
    ]
    told = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    assert told.exit_code == 0 and "uantize" in told.output
    run = work / "runs" / "smoke"
    stored = json.loads((run / "sensitivity.json").read_text())
    report = json.loads((run / "report.json").read_text())
    assert (
        report["sensitivity"]["verdict"] == stored["verdict"] in (run / "report.html").read_text()
    )
    assert sum(row["kept"] == "fp32" for row in stored["blocks"]) == len(
        stored["front"][stored["chosen"]]["float_blocks"]
    )

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from manifests import manifest_of
from tiny_models import settled, stage_context

import runtime
from compress.distill.artifact import DistillArtifact
from compress.engine.errors import ConfigError, DataError
from compress.engine.runs import find_run, open_run, require_stages
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.quantize import stage as quantize
from compress.report.model.search import ReportSensitivity
from export import stage as export
from export.sensitivity import measure
from export.sensitivity.add import reason_against
from export.sensitivity.front import Variant
from export.sensitivity.held_out import held_out_views, spread
from export.sensitivity.measure import difference_ms, slower, with_gain
from export.sensitivity.result import (
    BlockCost,
    BlockSensitivity,
    SensitivityOptions,
    SensitivityResult,
)
from export.sensitivity.variants import Variants
from runtime import golden, normalize
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
    """A run, finished up to its bundle, whose student has one ruined block; each weight went to its
    nearest step.
    """
    return run_of(tmp_path_factory.mktemp("sensitivity"), rounding="nearest")


@pytest.fixture(scope="module")
def reconstructed(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    """The same, rounded layer by layer."""
    return run_of(tmp_path_factory.mktemp("reconstructed"), rounding="layerwise")


def run_of(root: Path, rounding: str) -> StageContext:
    ctx = stage_context(root, "quantize", quantize={"mode": "ptq", "rounding": rounding})
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


QUICK = SensitivityOptions(images=48, seconds=0.05)


@pytest.mark.slow
def test_the_ruined_block_is_found_and_the_result_keeps_the_contract(
    finished: StageContext, tmp_path: Path
) -> None:
    result = measure.run(fresh(finished, tmp_path), QUICK)
    stored = json.loads((tmp_path / "sensitivity.json").read_text())
    assert stored == json.loads(json.dumps(result.to_json()))
    blocks = {row["block"]: row for row in stored["blocks"]}
    assert max(blocks, key=lambda name: blocks[name]["kl"]) == RUINED
    assert blocks[RUINED]["kl"] > 10 * max(
        row["kl"] for name, row in blocks.items() if name != RUINED
    )
    ReportSensitivity.model_validate(stored)
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
    assert RUINED in "\n".join(result.lines())


@pytest.mark.slow
def test_accuracy_repeats_whatever_the_clock_says(finished: StageContext, tmp_path: Path) -> None:
    first, second = (
        measure.block_costs(finished, variants_of(finished, tmp_path / name))
        for name in ("first", "second")
    )
    assert first == second


def variants_of(ctx: StageContext, folder: Path) -> Variants:
    folder.mkdir()
    return Variants(ctx, held_out_views(ctx, 48), folder)


@pytest.mark.slow
def test_int8_and_fp32_are_the_files_of_the_bundle(finished: StageContext, tmp_path: Path) -> None:
    variants = variants_of(finished, tmp_path / "files")
    bundle = finished.inputs["export"].path / "bundle"
    assert variants.file(frozenset()) == bundle / "model.int8.onnx"
    assert variants.file(variants.fp32) == bundle / "model.fp32.onnx"
    # without quantizers it is the student of the quantize stage
    plain, twin = variants.logits(variants.unrounded), variants.reference(variants.fp32)
    with torch.no_grad():
        wanted = twin(torch.from_numpy(normalize(variants.views.pixels, variants.spec))).numpy()
    assert np.abs(plain - wanted).max() < 1e-3 * np.ptp(wanted)


@pytest.mark.slow
def test_leaving_the_ruined_block_in_float_repairs_the_student(
    finished: StageContext, tmp_path: Path
) -> None:
    variants = variants_of(finished, tmp_path / "repair")
    whole = variants.unrounded
    broken = variants.divergence(whole, variants.file(frozenset()))
    repaired = variants.divergence(whole, variants.file(frozenset({RUINED})))
    assert repaired < 0.2 * broken


@pytest.mark.slow
def test_an_added_variant_is_a_model_of_the_bundle(
    finished: StageContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is fixed: which file wins on a busy machine proves nothing."""
    ctx = fresh(finished, tmp_path)
    wanted = frozenset({RUINED})

    def timed(
        self: Variants, variants: list[frozenset[str]], seconds: float, threads: int
    ) -> dict[Any, Any]:
        rng = np.random.Generator(np.random.Philox(0))
        return {
            names: latency.Samples(
                str(place), rng.normal(1.0 if names == wanted else 2.0, 1e-3, (40, 4)) * 1e6
            )
            for place, names in enumerate(dict.fromkeys(variants))
        }

    monkeypatch.setattr(Variants, "time", timed)
    monkeypatch.setattr(Variants, "drop", lambda self, before, after: (0.0, (0.0, 0.0)))
    result = measure.run(ctx, QUICK, write=True)
    assert result.written is not None and result.written.added
    assert result.chosen.float_blocks == (RUINED,)
    assert result.repeat == f"--set 'quantize.float_blocks=[\"{RUINED}\"]'"
    bundle = tmp_path / "bundle"
    manifest = manifest_of(bundle)
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
    measure.run(fresh(finished, again), QUICK, write=True)
    assert (
        again / "bundle" / "model.mixed.onnx"
    ).read_bytes() == first  # nothing of the scratch folder or the clock


def result_of(
    chosen: int, low_int8: float, low_fp32: float, int8_drop: float = 0.0
) -> SensitivityResult:
    variants = tuple(
        Variant(names, 0.9, drop, 1.0, 10)
        for names, drop in (((), int8_drop), (("a",), 0.0), (("a", "b"), 0.0))
    )
    blocks = tuple(block(name, 1.0, 0.0) for name in ("a", "b"))
    speedups = {
        f"chosen_vs_{name}": latency.Ratio(1.5, (low, 2.0), 10)
        for name, low in (("int8", low_int8), ("fp32", low_fp32))
    }
    return SensitivityResult(
        QUICK,
        host={},
        held_out={},
        blocks=blocks,
        front=variants,
        unbeaten=variants,
        chosen=variants[chosen],
        candidates=variants,
        speedups=speedups,
        stamps={},
        verdict="",
    )


def cost_of(name: str, kl: float) -> BlockCost:
    return BlockCost(name, (name,), 1, 0.0, (0.0, 0.0), kl, 0.0, 10)


def block(name: str, saved_ms: float, kl: float) -> BlockSensitivity:
    cost = cost_of(name, kl)
    return BlockSensitivity(**vars(cost), saved_ms=saved_ms, saved_ci95_ms=(0.0, 0.0))


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
def test_only_a_variant_that_beats_int8_and_fp32_is_added(
    result: SensitivityResult, says: str | None
) -> None:
    against = reason_against(result)
    assert against is None if says is None else says in str(against)


def series(milliseconds: float, noise: float = 0.01, seed: int = 0) -> latency.Samples:
    rng = np.random.Generator(np.random.Philox(seed))
    return latency.Samples("", (milliseconds + rng.normal(0, noise, (60, 3))) * 1e6)


def test_gain_has_a_sign_and_an_interval() -> None:
    row = with_gain(cost_of("a", 0.0), series(2.0), series(2.5, seed=1), 0)
    assert row.saved_ms == pytest.approx(0.5, abs=0.01)
    assert row.saved_ci95_ms[0] <= row.saved_ms <= row.saved_ci95_ms[1]
    slowed = with_gain(cost_of("a", 0.0), series(2.0), series(1.5, seed=1), 0)
    assert slowed.saved_ms < 0  # int8 slows this block down
    low, high = difference_ms(series(2.0), series(2.0, seed=1), 0)
    assert low < 0 < high
    assert slower(series(2.5), series(2.0, seed=1), 0) and not slower(
        series(2.0), series(2.0, seed=1), 0
    )


def test_greedy_leaves_int8_where_it_is_worth_least() -> None:
    rows = [
        block("slow in int8", -0.5, 0.0),
        block("costly", 0.1, 0.5),
        block("good", 2.0, 0.01),
        block("better", 3.0, 0.001),
    ]
    found = measure.greedy(rows)
    assert found[0] == frozenset({"slow in int8", "costly"})
    assert frozenset({"slow in int8", "costly", "good"}) in found
    assert all(2 <= len(names) < len(rows) for names in found) and len(set(found)) == len(found)


@pytest.mark.slow
def test_views_are_new_even_and_repeat(finished: StageContext) -> None:
    views = held_out_views(finished, 40)
    assert views.pixels.shape == (40, 32, 32, 3) and views.counts == {"real": 20, "synthetic": 20}
    assert np.abs(np.bincount(views.labels, minlength=5) - 8).max() <= 1
    assert np.array_equal(views.pixels, held_out_views(finished, 40).pixels)
    assert len({view.tobytes() for view in views.pixels}) == 40
    rows = np.array([3, 5, 9, 11])
    assert spread(rows, 6) == [(3, 0), (5, 0), (9, 0), (11, 0), (3, 1), (11, 1)]
    with pytest.raises(DataError, match="no images to judge"):
        held_out_views(finished, 1)


@pytest.mark.slow
def test_a_run_that_is_not_finished_is_refused(finished: StageContext) -> None:
    some = {name: stage for name, stage in finished.inputs.items() if name != "export"}
    ctx = StageContext(finished.settings, some, finished.folder, finished.seed)
    with pytest.raises(ConfigError, match="not finished"):
        measure.run(ctx, QUICK)
    require_stages(ctx, "data", "distill")


@pytest.mark.slow
def test_where_layers_make_up_for_one_another_a_block_is_judged_beside_the_rest(
    reconstructed: StageContext, tmp_path: Path
) -> None:
    ctx = reconstructed
    assert ctx.inputs["quantize"].facts["kept"] == "reconstructed"
    result = measure.run(fresh(ctx, tmp_path), QUICK)
    costs = {row.block: row.kl for row in result.blocks}
    assert not result.alone and result.to_json()["alone"] is False
    assert costs.pop(RUINED) > 3 * max(costs.values())
    assert all(row.drop_points == row.regained_points for row in result.blocks)
    assert "beside all in int8" in result.lines()[0]
    variants = variants_of(ctx, tmp_path / "files")
    assert variants.unrounded == ctx.inputs["export"].path / "bundle" / "model.fp32.onnx"
    whole, mixed = variants.unrounded, variants.file(frozenset({RUINED}))
    assert variants.divergence(whole, mixed) < 0.3 * variants.divergence(
        whole, variants.file(frozenset())
    )
    # what is added to a bundle has to compute what its torch model does
    with torch.no_grad():
        wanted = variants.reference(frozenset({RUINED}))(
            torch.from_numpy(normalize(variants.views.pixels, variants.spec))
        ).numpy()
    assert np.abs(variants.logits(mixed) - wanted).mean() < 0.02 * np.ptp(wanted)


@pytest.mark.slow
def test_runs_are_found_by_name_and_by_folder(smoke: Path, smoke_work: Path) -> None:
    assert find_run("smoke", smoke_work) == find_run(smoke, Path("elsewhere")) == smoke.resolve()
    with pytest.raises(ConfigError, match="smoke"):
        find_run("smok", smoke_work)
    ctx = open_run(smoke)
    assert ctx.seed == 0 and {"data", "distill", "quantize", "export", "report"} <= set(ctx.inputs)


@pytest.mark.slow
def test_the_command_prints_the_result_and_renders_the_report(
    smoke_work: Path, tmp_path: Path
) -> None:
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

"""The search: what it drops before training, how it chooses, that it says at once when nothing
fits; a whole one, marked slow.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import compress
from compress.api import settings_for
from compress.budgets.grammar import parse_budget
from compress.engine.errors import BudgetError, BudgetUnmetError, ConfigError
from compress.engine.store import Artifact
from compress.evaluate.gates import decide
from compress.search.candidates import Candidate, RungScore, in_words, nearest_miss
from compress.search.held_out import fresh_settings
from compress.search.record import EVENTS, RESULT, rows
from compress.search.search import largest, pick, precision_of, prune
from compress.search.zoo import sizes, students, with_candidate

HOST = ("host",)


def candidate(
    name: str,
    p50: dict[str, float],
    size: dict[str, float],
    score: float | None = None,
    **more: Any,
) -> Candidate:
    """A candidate whose times are known; ``score`` is its agreement on 400 held-out images."""
    facts = {"bytes": size, "refused": more.get("refused", {}), "params": 10, "files": {}}
    made = Candidate(name, 32, settings_for("petals"), Artifact("sketch", Path(), facts, name))
    made.measured = {key: {"p50_ms": value} for key, value in p50.items()}
    made.estimated = more.get("estimated", {})
    if score is not None:
        made.rungs = [RungScore(5, "images", score, 0.02, 400)]
    return made


def small() -> Candidate:
    return candidate("small", {"fp32": 0.2, "int8": 0.3}, {"fp32": 4e5, "int8": 1e5}, 0.80)


def large() -> Candidate:
    return candidate("large", {"fp32": 2.0, "int8": 0.9}, {"fp32": 4e6, "int8": 1e6}, 0.90)


def test_what_breaks_a_limit_is_dropped_per_precision_and_says_which() -> None:
    found = [small(), large()]
    prune(found, parse_budget("p50<=1ms, size<=2MB, drop<=1pt"), HOST)
    assert [c.fitting for c in found] == [("fp32", "int8"), ("int8",)]
    assert found[1].reasons == {"fp32": "p50<=1ms@host: 2 ms; size<=2MB: 4 MB"}
    assert precision_of(found[0], HOST) == ("fp32", "auto") and precision_of(found[1], HOST) == (
        "int8",
        "int8",
    )


def test_what_is_not_known_before_training_drops_nothing() -> None:
    found = [small()]
    prune(found, parse_budget("top1>=99%, memory<=1kB, energy<=0.001mJ, load<=0.001ms"), HOST)
    assert found[0].fitting == ("fp32", "int8")


def test_other_devices_are_judged_by_their_estimates_and_tails_by_their_median() -> None:
    told = {
        "pi5": {
            "fp32": {"p50_ms": 9.0, "energy_mj": 90.0},
            "int8": {"p50_ms": 3.0, "energy_mj": 30.0},
        }
    }
    for text, fits in (
        ("p50<=5ms@pi5", ("int8",)),
        ("p99<=5ms@pi5", ("int8",)),
        ("energy<=20mJ@pi5", ()),
        ("p90<=10ms@pi5", ("fp32", "int8")),
    ):
        found = [candidate("x", {}, {"fp32": 4e5, "int8": 1e5}, estimated=told)]
        prune(found, parse_budget(text), ("pi5",))
        assert found[0].fitting == fits, text
        assert all("(estimate)" in why for why in found[0].reasons.values())


def test_a_refused_precision_is_no_candidate() -> None:
    assert candidate("x", {}, {"fp32": 1.0}, refused={"int8": "why"}).precisions(HOST) == ("fp32",)
    assert candidate("x", {}, {"fp32": 1.0, "int8": 1.0}).precisions(("orin-nano",)) == (
        "fp32",
        "fp16",
        "int8",
    )
    assert candidate("x", {}, {"fp32": 1.0, "int8": 1.0}).precisions(("orin-nano", "pi5")) == (
        "fp32",
        "int8",
    )


def test_the_nearest_miss_is_the_one_with_the_least_excess() -> None:
    limits = parse_budget("p50<=0.1ms, size<=200kB")
    miss = nearest_miss([small(), large()], limits, HOST)
    assert miss is not None and (miss[0].student, miss[1]) == ("small", "fp32")
    assert in_words(miss[2]) == "p50<=0.1ms@host: 0.2 ms; size<=200kB: 400 kB"
    assert nearest_miss([small()], parse_budget("p50<=9ms"), HOST) is None


def test_the_best_wins_and_of_equals_the_cheapest() -> None:
    def chosen(*scores: float) -> str:
        found = [small(), large()]
        for one, score in zip(found, scores, strict=True):
            one.rungs = [replace(one.rungs[-1], agreement=score)]
            one.fitting = ("fp32", "int8")
        return pick(found, HOST)[0].student

    assert chosen(0.80, 0.90) == "large"
    assert chosen(0.885, 0.90) == "small"  # within the standard error of 0.02
    assert chosen(0.95, 0.90) == "small"
    alone = small()
    alone.rungs = []
    assert "only candidate" in pick([alone], HOST)[1]


def test_the_largest_that_fit_are_trained_and_the_others_say_why() -> None:
    found = [small(), large()]
    for one in found:
        one.fitting = ("int8",)
    kept = largest(found, 1)
    left = next(one for one in found if one is not kept[0])
    assert len(kept) == 1 and "budget.most" in left.reasons["int8"]


def test_rows_for_the_report_say_what_became_of_each() -> None:
    found = [small(), large()]
    prune(found, parse_budget("p50<=1ms, size<=2MB"), HOST)
    told = {
        (row["student"], row["precision"]): row["status"]
        for row in rows(found, HOST, (found[1], "int8"))
    }
    assert told == {
        ("small", "fp32"): "trained",
        ("small", "int8"): "trained",
        ("large", "fp32"): "pruned",
        ("large", "int8"): "chosen",
    }


def test_the_zoo_of_each_world_and_smaller_resolutions_only_if_need_be() -> None:
    embedded, hub = settings_for("petals"), settings_for("flowers", student="efficientnet_b0")
    assert "petal_cnn_w8" in students(embedded) and "petal_cnn" in students(embedded)
    assert {"mobilenetv4_conv_small", "efficientnet_b0"} <= set(
        students(hub)
    ) and "petal_cnn" not in students(hub)
    assert sizes(embedded)[0] == (32,) and sizes(embedded)[1:] == [(24,), (16,)]
    assert sizes(hub)[0] == (224,) and sizes(hub)[1:] == [(192,), (160,), (128,), (96,)]
    named = settings_for(
        "petals", overrides={"budget": {"sizes": [24, 32], "students": ["petal_cnn_w4"]}}
    )
    assert sizes(named) == [(32, 24)] and students(named) == ("petal_cnn_w4",)
    import timm

    import compress.petals.nets  # noqa: F401

    assert set(students(embedded)) | set(students(hub)) <= set(timm.list_models())


def test_another_student_starts_from_what_its_world_has(tmp_path: Path) -> None:
    base = settings_for(
        "petals", overrides={"distill": {"init_path": str(tmp_path / "mine.safetensors")}}
    )
    assert with_candidate(base, "petal_cnn", 32).distill.init_path is not None
    narrow = with_candidate(base, "petal_cnn_w8", 24)
    assert (narrow.distill.init, narrow.distill.init_path, narrow.image.size) == ("clip", None, 24)
    generic = settings_for("petals", overrides={"distill": {"init": "generic"}})
    assert with_candidate(generic, "petal_cnn_w8", 32).distill.init == "random"
    hub = settings_for("flowers", overrides={"distill": {"init": "clip"}})
    assert with_candidate(hub, "resnet18", 224).distill.init == "timm"


def test_narrower_students_start_as_pruned_small_clips() -> None:
    from compress.distill.first_weights import initialize
    from compress.distill.students import spec_for
    from compress.engine.config import DistillSettings, ImageSettings
    from compress.petals.weights import load_student_clip
    from compress.petals.world import training_flowers

    pixels = (
        torch.from_numpy(training_flowers(5000, 5064).images).permute(0, 3, 1, 2).float() / 127.5
        - 1
    )
    texts = torch.nn.functional.normalize(
        torch.randn(4, 128, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    image = ImageSettings(size=32, crop_pct=1.0)

    def features(name: str) -> torch.Tensor:
        settings = DistillSettings(student=name, init="clip")
        student = initialize(settings, spec_for(settings, image, 4, 128), texts).eval()
        with torch.no_grad():
            out = student.project(student.trunk(pixels))
        assert out is not None
        return out

    whole = features("petal_cnn")
    level = [
        float((features(name) * whole).sum(1).mean())
        for name in ("petal_cnn_w4", "petal_cnn_w8", "petal_cnn_w12")
    ]
    assert (
        level == sorted(level) and level[-1] > 0.8 and level[0] > 0.3
    )  # cosine to the whole trunk's features, unseen flowers
    assert torch.equal(features("petal_cnn_w8"), features("petal_cnn_w8"))
    assert load_student_clip()["proj.weight"].shape == (128, 96)


def test_held_out_images_are_made_as_the_runs_own_but_are_others() -> None:
    settings = settings_for("petals")
    fresh = fresh_settings(settings, {"strategy": "img2img", "steps": 3, "images": 64})
    assert (
        fresh.seed != settings.seed
        and fresh.generate.strategy == "img2img"
        and fresh.generate.steps == 3
    )
    assert (
        fresh.generate.probing.candidates == ()
        and fresh.generate.per_class == settings.budget.held_out
    )
    assert fresh.label.pools == ("synthetic",) and fresh.label.views == 1
    none = fresh_settings(settings, {"strategy": "none", "images": 0})
    assert none.label.pools == ("real",) and none.label.real_views == settings.budget.held_out


def test_a_file_that_a_budget_leaves_ships_and_the_gates_are_told() -> None:
    metrics = {"student_fp32": {"n": 100, "correct": 90}, "student_int8": {"n": 100, "correct": 80}}
    gates, ship = decide(
        metrics, {"p50": 3.0, "ci95": [2.9, 3.1]}, {"ran": {}, "is_quantized": True}, "int8"
    )
    assert ship.precision == "int8" and "asked for" in ship.reason and "top-1 lost" in ship.reason
    assert gates[0].passed is False
    assert (
        decide(metrics, {"p50": 3.0, "ci95": [2.9, 3.1]}, {"ran": {}, "is_quantized": True})[
            1
        ].precision
        == "fp32"
    )


def test_nothing_fits_is_said_before_training_with_the_nearest(smoke_work: Path) -> None:
    options: dict[str, Any] = {
        "shots": 1,
        "preset": "smoke",
        "work_dir": smoke_work,
        "name": "too-tight",
    }
    before = {path.name for path in (smoke_work / "store" / "distill").iterdir()}
    narrow = {"budget": {"students": ["petal_cnn_w4"], "sizes": [32], "seconds": 0.1}}
    with pytest.raises(
        BudgetUnmetError, match=r"nearest is petal_cnn_w4 at 32 px, int8.*size<=1kB"
    ):
        compress.build("petals", budget=["size<=1kB"], overrides=narrow, **options)
    assert {path.name for path in (smoke_work / "store" / "distill").iterdir()} == before
    folder = smoke_work / "runs" / "too-tight"
    events = [json.loads(line) for line in (folder / EVENTS).read_text().splitlines()]
    assert [event["event"] for event in events] == ["budget", "candidate", "nothing fits"]
    assert (
        json.loads((folder / RESULT).read_text())["chosen"] is None
        and not (folder / "bundle").exists()
    )


def test_options_that_do_not_go_together_are_refused(smoke_work: Path) -> None:
    options: dict[str, Any] = {"shots": 1, "preset": "smoke", "work_dir": smoke_work}
    with pytest.raises(ConfigError, match="judged at the end"):
        compress.build("petals", budget=["size<=1MB"], until="data", **options)
    with pytest.raises(ConfigError, match="no budget"):
        compress.build("petals", benches=[smoke_work / "bench.json"], **options)
    with pytest.raises(BudgetError, match="calibration"):
        absent = {"budget": {"calibration": [str(smoke_work / "absent.json")]}}
        compress.build("petals", budget=["size<=1MB"], overrides=absent, name="absent", **options)


@pytest.mark.slow
def test_a_whole_search_ends_in_a_bundle_and_goes_on_where_it_was(smoke_work: Path) -> None:
    options: dict[str, Any] = {
        "shots": 1,
        "preset": "smoke",
        "work_dir": smoke_work,
        "name": "searched",
    }
    narrow = {
        "budget": {
            "students": ["petal_cnn_w4", "petal_cnn_w8", "petal_cnn"],
            "seconds": 0.1,
            "held_out": 4,
        }
    }
    first = compress.build(
        "petals", budget=["size<=200kB, p50<=1s, drop<=95pt"], overrides=narrow, **options
    )
    report = first.report
    assert {row["pass"] for row in report["budgets"]} == {True} and {
        row["basis"] for row in report["budgets"]
    } == {"measured"}
    chosen = [row for row in report["candidates"] if row["status"] == "chosen"]
    assert (
        len(chosen) == 1
        and chosen[0]["student"] == report["student"]["name"] == first.settings.distill.student
    )
    assert (
        chosen[0]["measured"]["untrained"] is False
        and chosen[0]["top1"] == report["accuracy"]["student_int8"]["top1"]
    )
    large = next(
        row
        for row in report["candidates"]
        if (row["student"], row["precision"]) == ("petal_cnn", "fp32")
    )
    assert large["status"] == "pruned" and "size<=200kB" in large["why"]
    assert any("chosen with times measured" in state for state in report["states"])
    assert "petal_cnn_w4" in (first.folder / "report.html").read_text()
    events = (first.folder / EVENTS).read_text()
    again = compress.build(
        "petals", budget=["size<=200kB, p50<=1s, drop<=95pt"], overrides=narrow, **options
    )
    assert again.made == [] and (again.folder / EVENTS).read_text() == events
    config = first.folder / "config.yaml"
    repeated = compress.build(config_file=config, work_dir=smoke_work, name="repeated")
    assert repeated.made == [] and not (repeated.folder / EVENTS).exists()
    same = [(run.bundle / "manifest.json").read_bytes() for run in (first, repeated)]
    assert same[0] == same[1] and repeated.report["budgets"] == report["budgets"]

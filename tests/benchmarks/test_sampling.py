"""The comparison of samplers: its verdicts, its counts, and one small run, slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import sampling


def rows(*agreements: float) -> dict[str, dict[str, float]]:
    measured = [{"agreement": value, "diversity": 0.5, "gap": 0.1} for value in agreements]
    return dict(zip(map(sampling.words, sampling.SAMPLERS), measured, strict=False))


def test_a_loss_and_none_need_intervals_that_say_so() -> None:
    level = [0.0] * 3
    assert sampling.verdict([0.001, -0.001, 0.0], level) == "no loss"
    assert sampling.verdict([-0.05, -0.051, -0.049], level) == "loses"
    assert sampling.verdict([-0.05, 0.05, 0.0], level) == "not shown"
    assert sampling.verdict([0.0], [0.0]) == "not shown", "one seed shows nothing"


def test_passes_are_two_where_a_step_is_guided() -> None:
    assert sampling.passes({"steps": 6}) == 12
    assert sampling.passes({"steps": 6, "guidance_interval": (0.0, 0.5)}) == 9


def test_the_page_compares_with_the_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "SAMPLERS", ({"steps": 50}, {"steps": 4}))
    first, second = sampling.table([rows(0.9, 0.8), rows(0.7, 0.6)], {"steps": 50})
    assert first[-1] == "reference" and second[:2] == ("DDIM, 4 steps", 8)
    assert second[3] == "-10.0 ± 0.0" and second[-1] == "loses"


def test_the_defaults_cost_six_times_less_than_the_model_card() -> None:
    *_, last = sampling.flops()
    assert float(str(last[-1]).rstrip("×")) >= 6


@pytest.mark.slow
def test_samplers_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samplers = ({"steps": 2}, {"steps": 1, "scheduler": sampling.UNIPC})
    monkeypatch.setattr(sampling, "SAMPLERS", samplers)
    monkeypatch.setattr(sampling, "PER_CLASS", 2)
    rows = sampling.measure(0, tmp_path, samplers)
    assert [*rows] == ["DDIM, 2 steps", "UniPC, 1 steps"] and not sampling.missing(rows)
    two, one = rows.values()
    assert {*two} == {*sampling.MEASURES} and two["agreement"] != one["agreement"]


def test_a_run_measures_what_the_record_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measured(seed: int, work: Path, samplers: list[dict[str, object]]) -> object:
        asked.append((seed, len(samplers)))
        return dict.fromkeys(map(sampling.words, samplers), dict.fromkeys(sampling.MEASURES, 0.5))

    monkeypatch.setattr(sampling, "measure", measured)
    out = tmp_path / "s.json"
    for seeds, samplers in ((1, 1), (2, 1), (2, 3)):
        monkeypatch.setattr(sampling, "BEFORE", {"steps": 2})
        monkeypatch.setattr(sampling, "SAMPLERS", tuple({"steps": 2 + n} for n in range(samplers)))
        call = ["sampling", "--out", str(out), "--work", str(tmp_path), "--seeds", str(seeds)]
        monkeypatch.setattr("sys.argv", call)
        sampling.main()
    assert asked == [(0, 1), (1, 1), (0, 2), (1, 2)]
    assert "2 seeds, guidance" in out.with_suffix(".md").read_text(encoding="utf-8")

"""Measurements of older versions are read on."""

from __future__ import annotations

from runtime.bench.older import completed, completed_bench


def test_what_an_older_version_left_out_is_null_or_empty() -> None:
    bench = completed_bench({"rows": [{"p50_ms": 1.0}]})
    (row,) = bench["rows"]
    assert row["p999_ms"] is row["warmup"] is None and row["provider"] == row["reason"] == ""
    assert bench["cold"] == bench["breakdown"] == {} and bench["sustained"] is None


def test_an_entry_without_a_value_is_no_entry() -> None:
    content = completed(
        {
            "latency": [
                {"energy": {"mj_per_inference": None}, "clock_mhz": None, "provider": None}
            ],
            "speedups": {"a": {"p50": None, "ci95": None}, "b": {"p50": 2.0, "ci95": [1.0, 3.0]}},
            "sustained": [{"t_s": 1.0, "p50_ms": None}, {"t_s": 2.0, "p50_ms": 1.0}],
            "host": {"arch": None, "device": None},
        }
    )
    (row,) = content["latency"]
    assert row["energy"] is None and row["clock_mhz"] == (None, None) and row["provider"] == ""
    assert content["speedups"] == {"b": {"p50": 2.0, "ci95": [1.0, 3.0], "rounds": None}}
    assert [window["t_s"] for window in content["sustained"]] == [2.0]
    assert content["host"] == {"device": None}


def test_what_is_no_object_is_left_to_the_reader_of_types() -> None:
    odd = {"rows": ["x"], "speedups": [1], "breakdown": {"int8": 3}, "host": 5, "sustained": [4]}
    assert completed(odd) == odd


def test_what_is_whole_stays() -> None:
    whole = completed_bench({"rows": [{"energy": {"mj_per_inference": 1.0, "watts": 2.0}}]})
    assert completed_bench(whole) == whole

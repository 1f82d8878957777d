"""The verdict: which file ships, and the sentence that says why."""

from __future__ import annotations

from typing import Any

import pytest

from compress.evaluate.gates import MAX_OVER_STATIC, class_gate, decide, static_gate

INT8, FLOAT = (
    {"ran": {"QLinearConv": 9}, "is_quantized": True},
    {"ran": {"Conv": 9}, "is_quantized": False},
)


def metrics(fp32: int, int8: int, n: int = 1000) -> dict[str, Any]:
    return {"student_fp32": {"n": n, "correct": fp32}, "student_int8": {"n": n, "correct": int8}}


def speed(ratio: float) -> dict[str, Any]:
    return {"p50": ratio, "ci95": [ratio - 0.1, ratio + 0.1]}


@pytest.mark.parametrize(
    ("fp32", "int8", "ratio", "kernels", "precision", "words"),
    [
        (900, 898, 2.1, INT8, "int8", "int8 is 2.10× as fast as fp32 here; int8 has 898 of 1,000"),
        (900, 900, 1.5, INT8, "int8", "right, fp32 900 (limit: 0.5 points fewer)."),
        (900, 903, 1.9, INT8, "int8", "int8 has 903 of 1,000 test images right, fp32 900"),
        (900, 895, 1.9, INT8, "int8", "int8 has 895 of"),  # the limit itself passes
        (900, 894, 1.9, INT8, "fp32", "int8 has 894 of 1,000 test images right, fp32 900: more"),
        (900, 900, 1.45, INT8, "int8", "int8 has 900"),  # the limit lies within the interval
        (900, 900, 1.30, INT8, "int8", "int8 has 900"),  # within what two runs differ by
        (900, 900, 1.24, INT8, "fp32", "only 1.24× as fast"),
        (
            900,
            900,
            1.08,
            INT8,
            "fp32",
            "only 1.08× as fast, less than 1.5×",
        ),  # EfficientNet-B0 on a CPU
        (900, 900, 0.9, INT8, "fp32", "int8 is slower (0.90× the speed of fp32)"),
        (900, 900, 2.0, FLOAT, "fp32", "still ran in floating point"),
        (900, 800, 0.5, INT8, "fp32", "more than 0.5 points fewer, and int8 is slower"),
    ],
)
def test_every_gate_decides(
    fp32: int, int8: int, ratio: float, kernels: dict[str, Any], precision: str, words: str
) -> None:
    gates, ship = decide(metrics(fp32, int8), speed(ratio), kernels)
    assert (ship.precision, ship.file) == (precision, f"model.{precision}.onnx")
    assert words in ship.reason
    assert all(gate.passed for gate in gates) == (precision == "int8")


def test_of_few_test_images_int8_may_lose_one() -> None:
    for lost, precision in ((1, "int8"), (2, "fp32")):
        few = {name: {**row, "n": 120} for name, row in metrics(100, 100 - lost).items()}
        gates, ship = decide(few, speed(2.0), INT8)
        assert ship.precision == precision and "one image fewer" in ship.reason
        assert gates[0].limit == pytest.approx(100 / 120) and gates[0].value == pytest.approx(
            lost * 100 / 120
        )


@pytest.mark.parametrize(
    ("ratio", "stamp", "precision", "passed", "words"),
    [
        (1.2, "VALID", "fp32", False, "only 1.20× as fast, less than 1.5×."),
        (1.2, "NOISY_HOST", "int8", None, "here, measured on a busy machine (NOISY_HOST); int8"),
        (1.8, "DRIFTING", "int8", True, "here, measured on a busy machine (DRIFTING); int8"),
        (0.8, "DRIFTING", "fp32", False, "speed of fp32), measured on a busy machine (DRIFTING)."),
        (1.8, "VALID", "int8", True, "as fast as fp32 here; int8 has 900"),
    ],
)
def test_a_busy_machine_counts_against_int8_only_where_it_is_slower(
    ratio: float, stamp: str, precision: str, passed: bool | None, words: str
) -> None:
    gates, ship = decide(metrics(900, 900), speed(ratio), INT8, stamps=[stamp, "VALID"])
    assert (ship.precision, gates[1].passed) == (precision, passed)
    assert words in ship.reason


def test_without_test_images_accuracy_is_open_and_said_so() -> None:
    gates, ship = decide({}, speed(2.0), INT8)
    assert gates[0].passed is None and gates[0].value is None
    assert ship.precision == "int8" and "not known without test images" in ship.reason


def test_without_a_measured_speed_fp32_ships() -> None:
    gates, ship = decide(metrics(900, 900), None, INT8)
    assert gates[1].passed is None
    assert ship.precision == "fp32" and "not measured" in ship.reason


def test_a_precision_that_the_settings_force_ships_though_a_gate_fails() -> None:
    gates, ship = decide(metrics(900, 800), speed(3.0), INT8, "int8")
    assert ship.precision == "int8" and "asked for" in ship.reason and "top-1 lost" in ship.reason
    assert gates[0].passed is False
    assert decide(metrics(900, 800), speed(3.0), INT8)[1].precision == "fp32"


@pytest.mark.parametrize(
    ("p50", "ci95", "passed"),
    [
        (1.02, (1.0, 1.05), True),
        (0.97, (0.94, 0.99), True),  # 1.03 times the time
        (0.90, (0.85, 0.96), True),  # the limit of 0.952 lies within the interval
        (0.80, (0.78, 0.82), False),
        (0.25, (0.24, 0.26), False),
    ],
)
def test_int8_that_is_slower_than_static_quantization_is_said_so(
    p50: float, ci95: tuple[float, float], passed: bool
) -> None:
    gate, slower = static_gate({"p50": p50, "ci95": list(ci95)})
    assert gate.value == pytest.approx(1 / p50) and gate.limit == MAX_OVER_STATIC
    assert gate.passed is passed and (slower is None) is passed
    if slower:
        low, high = 1 / ci95[1], 1 / ci95[0]
        assert f"{1 / p50:.2f}× the time" in slower and f"{low:.2f} to {high:.2f}" in slower


def test_without_a_baseline_the_comparison_is_open() -> None:
    gate, slower = static_gate(None)
    assert gate.value is None and gate.passed is None and slower is None


def confusions(*right: int, n: int = 40) -> dict[str, object]:
    """Metrics of a model that gets so many of ``n`` images of each class right."""
    classes = len(right)
    rows = [[0] * classes for _ in right]
    for k, count in enumerate(right):
        rows[k][k] = count
        rows[k][(k + 1) % classes] = n - count
    return {"confusion": rows}


def test_a_class_that_int8_loses_is_named() -> None:
    both = {"student_fp32": confusions(40, 30, 20), "student_int8": confusions(40, 22, 22)}
    gate, told = class_gate(both, ["rose", "iris", "daisy"], 10.0, 20)
    assert gate.passed is False and gate.value == 20.0 and gate.limit == 10.0
    (sentence,) = told
    assert "20.0 points" in sentence and "'iris' (40 test images, limit 10)" in sentence
    assert "compress sensitivity" in sentence
    gate, told = class_gate(both, ["rose", "iris", "daisy"], 20.0, 20)
    assert gate.passed is True and not told


def test_a_class_with_few_images_is_not_judged() -> None:
    both = {"student_fp32": confusions(10, 8, n=10), "student_int8": confusions(10, 1, n=10)}
    for metrics in (both, {}, {"student_fp32": both["student_fp32"]}):
        gate, told = class_gate(metrics, ["a", "b"], 10.0, 11)  # type: ignore[arg-type]
        assert gate.passed is None and gate.value is None and not told
    assert class_gate(both, ["a", "b"], 10.0, 10)[0].passed is False  # type: ignore[arg-type]


def test_a_class_that_gains_is_no_loss() -> None:
    both = {"student_fp32": confusions(20, 20), "student_int8": confusions(25, 40)}
    gate, told = class_gate(both, ["a", "b"], 0.0, 20)
    assert gate.value == 0.0 and gate.passed is True and not told

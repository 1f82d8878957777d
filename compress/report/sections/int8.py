"""The section "int8": whether it really is int8, beside static quantization and torch."""

from __future__ import annotations

from compress.evaluate.gates import MAX_OVER_STATIC
from compress.report.model.report import Report
from compress.report.wording import ABSENT, percent, points, signed_interval, significant
from runtime.backends import BACKENDS

#: unit of a gate -> words for its value
GATE_WORDS = {
    "points": lambda value: f"{value:.2f} points".replace("-", "−"),
    "times": lambda value: f"{value:.2f}×",
    "yes": lambda value: "yes" if value else "no",
}


def kernel_sentence(report: Report) -> str:
    """The count of integer kernels in ONNX Runtime's profile of the int8 file."""
    kernels, known = report.quantization.kernels, BACKENDS["onnxruntime"].integer_kernels
    integer = sum(count for name, count in kernels.ran.items() if name in known)
    counts = f"{integer} of {sum(kernels.ran.values())}"
    runs = "runs" if kernels.is_quantized else "does not really run"
    return (
        f"In the profile of one inference of the int8 file, {counts} executed nodes are integer "
        f"kernels: it {runs} in int8 on this machine."
    )


def kernel_rows(report: Report) -> list[tuple[str, int]]:
    """Kernel and executed nodes, the most frequent first."""
    return sorted(report.quantization.kernels.ran.items(), key=lambda pair: (-pair[1], pair[0]))


def ptq_sentence(report: Report) -> str:
    """Accuracy and time of the int8 file beside ONNX Runtime's static quantization."""
    return " ".join(filter(None, (_against_ptq(report), _against_ptq_in_time(report))))


def _against_ptq(report: Report) -> str:
    """Whether training through the rounding was worth it."""
    found = report.quantization.qat_vs_ptq
    if not found:
        return ""
    low, high = found.ci95
    verdict = "better than" if low > 0 else "worse than" if high < 0 else "not distinguishable from"
    text = f"The int8 file is {verdict} ONNX Runtime's own static quantization of the same student:"
    text += f" {points(found.difference)} (95 % CI {signed_interval(found.ci95)})."
    how = report.quantization
    if how.kept == "reconstructed":
        text += (
            " Its weights were rounded layer by layer, each to what the int8 layers before give."
        )
    elif how.kept == "calibrated" and how.mode != "ptq":
        text += " Training did not lower its loss, so the calibrated weights were kept."
    return text


def _against_ptq_in_time(report: Report) -> str:
    found = report.speedups.get("student_int8_vs_student_ptq")
    if not found:
        return ""
    low, high = sorted(1 / bound for bound in found.ci95)
    text = "Timed in turns with ONNX Runtime's own static quantization, the int8 file takes "
    text += f"{1 / found.p50:.2f}× its time (95 % CI {low:.2f}× to {high:.2f}×)"
    return f"{text}: {MAX_OVER_STATIC:g}× at most is expected."


def parity_rows(report: Report) -> list[tuple[str, str]]:
    """Every exported file beside its torch model, then predict() beside the test set."""
    rows = {
        name: f"largest logit difference {significant(file.max_abs_diff, 2)} of "
        f"{significant(file.tolerance, 2)} allowed; same class on {percent(file.agreement)} "
        f"of {file.images} images"
        for name, file in report.parity.files.items()
        if file
    }
    if predict := report.parity.predict:
        within = significant(predict.max_abs_logit_difference, 2)
        words = f"equal pixels on {predict.images} encoded test images, logits within {within}"
        rows["Classifier.predict"] = words
    return list(rows.items())


def gate_value(value: float | None, unit: str) -> str:
    """A gate's limit or value in its unit."""
    return ABSENT if value is None else GATE_WORDS[unit](value)

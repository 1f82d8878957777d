"""What the report says in words and short rows, made from report.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.report import wording
from compress.report.charts import accuracy as plots
from compress.report.wording import (
    compute_row,
    count,
    form,
    milliseconds,
    p50_of,
    percent,
    points,
    significant,
    size,
    times,
)
from runtime.backends import BACKENDS

CONFUSED = 10  # wrong answers listed


def tiles(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """The four figures under the headline."""
    shipped, accuracy, sizes = (
        report["student"]["shipped"],
        report["accuracy"],
        report["size_bytes"],
    )
    speed, own = report["speedup_vs_teacher"], accuracy.get(shipped)
    teacher_p50, teacher = p50_of(report, "teacher"), accuracy.get("teacher")
    span = (
        f"95 % CI {significant(speed['ci95'][0], 2)} to {significant(speed['ci95'][1], 2)}"
        if speed["ci95"]
        else "not measured"
    )
    return [
        {
            "what": "top-1 accuracy",
            "value": percent(own["top1"]) if own else "not known",
            "note": f"teacher {percent(teacher['top1'])}{_against(report, shipped)}"
            if teacher
            else "no test images",
        },
        {
            "what": "file",
            "value": size(sizes.get(shipped)),
            "note": f"teacher {size(sizes.get('teacher'))}",
        },
        {
            "what": "latency, p50",
            "value": milliseconds(p50_of(report, shipped)),
            "note": f"teacher {milliseconds(teacher_p50)}{_stamp(report, shipped)}",
        },
        {"what": "speed-up over the teacher", "value": times(speed["p50"]), "note": span},
    ]


def _against(report: Mapping[str, Any], shipped: str) -> str:
    """ ": −3.2 points (−4.6 to −1.8)": the paired difference to the teacher."""
    found = report["paired"].get(f"{shipped.removeprefix('student_')}_vs_teacher")
    return (
        f": {points(found['difference'])} ({wording.signed_interval(found['ci95'])})"
        if found
        else ""
    )


def _stamp(report: Mapping[str, Any], shipped: str) -> str:
    """ ": NOISY_HOST" where the latency that is told has such a stamp."""
    row = compute_row(report, shipped)
    return "" if row is None or row["verdict"] == "VALID" else f" · {row['verdict']}"


def class_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per class, the weakest of the shipped form first.

    Keys: name, number (None unless the confusion matrix is numbered), value, teacher (or None),
        support.
    """
    table, shipped = report["per_class"], report["student"]["shipped"]
    if shipped not in table:
        return []
    names = report["dataset"]["class_names"]
    teacher = table.get("teacher") or [None] * len(names)
    numbered = not plots.named(names)
    rows = [
        {
            "name": name,
            "number": i if numbered else None,
            "value": value,
            "teacher": told,
            "support": n,
        }
        for i, (name, value, told, n) in enumerate(
            zip(names, table[shipped], teacher, table["support"], strict=True), 1
        )
        if value is not None
    ]
    return sorted(rows, key=lambda row: (row["value"], row["name"]))


def class_sentence(report: Mapping[str, Any]) -> str:
    """The weakest class and the one that lost most against the teacher."""
    rows = class_rows(report)
    if not rows:
        return ""
    text = (
        f"The weakest class is {rows[0]['name']} ({percent(rows[0]['value'], 0)} of "
        f"{rows[0]['support']} images)."
    )
    compared = [row for row in rows if row["teacher"] is not None]
    if compared:
        worst = min(compared, key=lambda row: row["value"] - row["teacher"])
        gap = worst["value"] - worst["teacher"]
        behind = sum(row["value"] < row["teacher"] for row in compared)
        ahead = sum(row["value"] > row["teacher"] for row in compared)
        if gap < 0:
            text += f" Against the teacher, {worst['name']} lost most ({points(gap, 0)})."
        level = len(compared) - behind - ahead
        text += (
            f" The student is below its teacher in {behind} classes, above it in {ahead} "
            f"and level in {level}."
        )
    missing = report["dataset"]["classes"] - len(rows)
    return text + (f" {missing} classes have no test image." if missing else "")


def confused(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The most frequent wrong answers of the shipped form."""
    names, cells = (
        report["dataset"]["class_names"],
        report["confusion"].get(report["student"]["shipped"], []),
    )
    support = report["per_class"].get("support", [])
    wrong = sorted((c for c in cells if c[0] != c[1]), key=lambda c: (-c[2], c[0], c[1]))[:CONFUSED]
    return [
        {"true": names[t], "predicted": names[p], "count": n, "share": n / support[t]}
        for t, p, n in wrong
    ]


def calibration_sentence(report: Mapping[str, Any]) -> str:
    """Whether the shipped form is over- or underconfident, from its reliability bins."""
    shipped = report["student"]["shipped"]
    if shipped not in report["calibration"]:
        return ""
    bins = [row for row in report["calibration"][shipped] if row["count"]]
    n = sum(row["count"] for row in bins)
    lean = sum(row["count"] * (row["confidence"] - row["accuracy"]) for row in bins) / n
    ece = report["accuracy"][shipped]["ece"]
    way = (
        "about as sure as it should be"
        if abs(lean) < 0.01
        else "too sure of itself"
        if lean > 0
        else "less sure than it could be"
    )
    return (
        f"On average {form(shipped)} is {way}: mean confidence minus accuracy is "
        f"{points(lean)}, and its expected "
        f"calibration error is {percent(ece)}. "
        "Where a bar ends on the dashed line, the confidence can be taken at its word."
    )


def images_sentence(report: Mapping[str, Any], shown: int) -> str:
    """How many real and synthetic images there were, and where they came from."""
    made, data = report["synthetic"], report["dataset"]
    real = "No real image"
    if data["shots"] == "all":
        real = f"All {data['train_images']:,} real training images"
    elif data["shots"]:
        real = f"{data['shots']} real {'image' if data['shots'] == 1 else 'images'} a class"
    if not made["images"]:
        text = f"{real}, and no synthetic ones."
    else:
        by = f" by {made['generator']}" if made.get("generator") else ""
        text = f"{real}, and {made['images']:,} synthetic images{by} (strategy {made['strategy']})."
        if made.get("teacher_agreement") is not None:
            share = percent(made["teacher_agreement"], 0)
            text += f" The teacher recognizes {share} of them as what they were asked to be."
        if made.get("dropped"):
            text += f" {made['dropped']:,} were dropped because it does not."
    return text + (
        f" Shown: {shown} of {data['classes']} classes." if 0 < shown < data["classes"] else ""
    )


def kernel_sentence(report: Mapping[str, Any]) -> str:
    """What ONNX Runtime's profile says about the int8 file."""
    kernels = report["quantization"]["kernels"]
    total = sum(kernels["ran"].values())
    names = BACKENDS["onnxruntime"].integer_kernels
    integer = sum(n for name, n in kernels["ran"].items() if name in names)
    start = (
        f"In the profile of one inference of the int8 file, {integer} of {total} executed "
        "nodes are integer kernels"
    )
    return (
        f"{start}: it {'runs' if kernels['is_quantized'] else 'does not really run'} in "
        "int8 on this machine."
    )


def ptq_sentence(report: Mapping[str, Any]) -> str:
    """Whether training through the rounding was worth it."""
    found = report["quantization"].get("qat_vs_ptq")
    if not found:
        return ""
    low, high = found["ci95"]
    verdict = "better than" if low > 0 else "worse than" if high < 0 else "not distinguishable from"
    interval = wording.signed_interval(found["ci95"])
    kept = (
        ""
        if report["quantization"].get("kept") != "calibrated"
        else " Training did not lower its loss, so the calibrated weights were kept."
    )
    return (
        f"The int8 file is {verdict} ONNX Runtime's own static quantization of the same student: "
        f"{points(found['difference'])} (95 % CI {interval}).{kept}"
    )


def parity_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every exported file against the torch model it came from, then predict() against the test
    set.
    """
    rows = []
    for name, found in report["parity"]["files"].items():
        if found:
            largest, allowed = (
                significant(found["max_abs_diff"], 2),
                significant(found["tolerance"], 2),
            )
            same = f"same class on {percent(found['agreement'])} of {found['images']} images"
            rows.append((name, f"largest logit difference {largest} of {allowed} allowed; {same}"))
    predict = report["parity"].get("predict")
    if predict:
        within = significant(predict["max_abs_logit_difference"], 2)
        rows.append(
            (
                "Classifier.predict",
                f"equal pixels on {predict['images']} encoded test images, logits within {within}",
            )
        )
    return rows


def environment_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The machine, without what it does not tell."""
    env = report["environment"]
    memory = env.get("memory_bytes")
    cores = (
        f"{env.get('cores_usable')} usable, {env.get('cores_logical')} logical"
        if env.get("cores_logical")
        else None
    )
    clock = f"{env['clock_mhz']:,.0f} MHz" if env.get("clock_mhz") else None
    listed = [
        ("device", env.get("device")),
        ("CPU", env.get("cpu")),
        ("architecture", env.get("arch")),
        ("cores", cores),
        ("instructions", ", ".join(env.get("isa") or ())),
        ("clock", clock),
        ("power mode", env.get("power_mode")),
        ("governor", env.get("governor")),
        ("memory", size(memory) if memory else None),
        ("kernel", env.get("kernel")),
        ("Python", env.get("python")),
        ("onnxruntime", env.get("versions", {}).get("onnxruntime")),
    ]
    return [(name, str(value)) for name, value in listed if value]


def provenance_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Dataset, teacher, generator and student with revision and license, as far as they are
    known.
    """
    told = {
        name: entry.get("facts", {})
        for name, entry in report["provenance"].get("stages", {}).items()
    }
    teacher, student = report["teacher"], report["student"]

    def joined(*parts: object) -> str:
        return ", ".join(str(part) for part in parts if part not in (None, ""))

    license = told.get("data", {}).get("license")
    made = told.get("generate", {})
    listed = [
        ("dataset", joined(report["dataset"]["name"], f"license {license}" if license else None)),
        (
            "teacher",
            joined(
                teacher["name"],
                f"{count(teacher['params'])} parameters" if teacher["params"] else None,
                f"revision {teacher['revision']}" if teacher.get("revision") else None,
                f"license {teacher['license']}" if teacher.get("license") else None,
            ),
        ),
        (
            "generator",
            joined(
                made.get("generator"),
                f"license {made['generator_license']}" if made.get("generator_license") else None,
            ),
        ),
        (
            "student",
            joined(
                student["name"],
                f"{count(student['params'])} parameters",
                f"started from {student['init']}",
            ),
        ),
        ("seed", str(report["provenance"].get("seed", "")) or ""),
    ]
    return [(name, value) for name, value in listed if value]

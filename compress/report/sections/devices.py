"""The section "Devices": what ``compress bench`` measured elsewhere, beside the machine of the
build.

Rows and words from report.json alone. An estimate never enters a table of measurements: it has its
    own kind of mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compress.evaluate.gates import MAX_DROP_POINTS
from compress.report import wording
from compress.report.charts import devices as plots_device
from compress.report.charts.devices import Bar, Course, Mark
from compress.report.wording import ABSENT, form, milliseconds, points, significant, size, times
from runtime.backends import BACKENDS, Backend

HERE = "where it was built"


def view(report: Mapping[str, Any], drawn: bool = True) -> dict[str, Any]:
    """What the templates ask for about devices; nothing but empty rows for a report of one
    machine.
    """
    from markupsafe import Markup

    merged = bool(report.get("devices"))
    found: dict[str, Any] = {
        "device_rows": device_rows(report) if merged else [],
        "device_sentence": device_sentence(report),
        "device_count": counted(report) if merged else "",
        "device_verdicts": device_verdicts(report) if merged else [],
        "device_states": device_states(report) if merged else [],
        "estimated": False,
        "devices": [],
        "energy_plot": None,
        "energy_sources": "",
        "sustained_plot": None,
    }
    if not (drawn and merged):
        return found
    groups = marks(report)
    found["devices"] = [
        (c, Markup(plots_device.devices(groups, w))) for c, w in (("wide", 960), ("narrow", 380))
    ]
    found["estimated"] = any(mark.estimate for group in groups.values() for mark in group)
    bars, courses = energy_bars(report), sustained(report)
    if bars:
        found["energy_plot"] = Markup(plots_device.energy(bars))
        found["energy_sources"] = ", ".join(sorted(set(energy_sources(report))))
    if courses:
        found["sustained_plot"] = Markup(plots_device.sustained(courses))
    return found


def everywhere(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The machine of the build in the shape of a bench.json, then every merged device."""
    kernels = report["quantization"]["kernels"]["ran"]
    here = {
        "name": device_name(report["environment"]),
        "here": True,
        "host": report["environment"],
        "rows": report["latency"],
        "speedups": report.get("speedups", {}),
        "kernels": {"int8": kernels},
        "mode": "build",
        "started": None,
        "states": [],
        "sustained": None,
    }
    others = [
        {**told, "name": device_name(told["host"]), "here": False}
        for told in report.get("devices", [])
    ]
    names = [told["name"] for told in (here, *others)]
    for other in others:
        if names.count(other["name"]) > 1:
            other["name"] += f" · {other['rows'][0]['backend']}, {_when(other['started'])}"
    return [here, *others]


def counted(report: Mapping[str, Any]) -> str:
    """How many devices were measured, and in how many runs where these are more."""
    names = {
        device_name(host)
        for host in (report["environment"], *(told["host"] for told in report["devices"]))
    }
    runs = len(report["devices"]) + 1
    devices = f"{len(names)} {'device' if len(names) == 1 else 'devices'}"
    return devices if runs == len(names) else f"{runs} runs, {devices}"


def _when(started: str) -> str:
    """The minute of an ISO time."""
    return started[:16].replace("T", " ")


def device_name(host: Mapping[str, Any]) -> str:
    """The board, else the processor, with its power mode."""
    name = (
        host.get("device")
        or host.get("gpu")
        or host.get("cpu")
        or host.get("arch")
        or "unnamed device"
    )
    return f"{name}, {host['power_mode']}" if host.get("power_mode") else str(name)


def device_form(row: Mapping[str, Any]) -> str:
    """The form of a row of bench.json, where the student's model is the name of its bundle."""
    return (
        "teacher" if row["model"] == "teacher" else f"student_{row['precision'].replace('.', '_')}"
    )


def color(name: str) -> str:
    """The form whose color a form wears: "student_int8_batch1" -> "student_int8"."""
    known = [known for known in wording.FORMS if name == known or name.startswith(f"{known}_")]
    return max(known, key=len, default="student_fp32")


def engine(row: Mapping[str, Any]) -> str:
    """What ran a row: "onnxruntime CPU"."""
    provider = str(row.get("provider") or "").removesuffix("ExecutionProvider")
    return (
        str(row["backend"])
        if provider.lower() in ("", row["backend"])
        else f"{row['backend']} {provider}"
    )


def place(row: Mapping[str, Any]) -> str:
    """Where a row ran: "onnxruntime CPU, 1 thread"."""
    return f"{engine(row)}, {row['threads']} {'thread' if row['threads'] == 1 else 'threads'}"


def _compute(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The compute rows of one image, one per form, backend and provider: the one with the fewest
    threads.
    """
    best: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in told["rows"]:
        if row["includes"] != wording.COMPUTE or row["batch"] != 1:
            continue
        key = (device_form(row), row["backend"], str(row.get("provider")))
        if key not in best or row["threads"] < best[key]["threads"]:
            best[key] = row
    order = list(wording.FORMS)
    return sorted(best.values(), key=lambda row: order.index(color(device_form(row))))


def device_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per device and form; ``first`` opens a device's block."""
    out = []
    for told in everywhere(report):
        for i, row in enumerate(_compute(told)):
            name = device_form(row)
            found = speedup(told, name, "teacher")
            whole = _end_to_end(told, row)
            energy = row.get("energy") or {}
            out.append(
                {
                    "device": told["name"],
                    "here": told["here"],
                    "first": i == 0,
                    "key": color(name),
                    "form": form(name),
                    "place": place(row),
                    "p50": milliseconds(row["p50_ms"]),
                    "p99": milliseconds(row["p99_ms"]),
                    "calls": row["n"],
                    "speedup": "1×"
                    if name == "teacher"
                    else times(found["p50"])
                    if found
                    else ABSENT,
                    "whole": milliseconds(whole["p50_ms"]) if whole else ABSENT,
                    "energy": millijoules(energy.get("mj_per_inference")),
                    "memory": size(row.get("peak_rss_bytes")),
                    "stamp": row["verdict"],
                    "reason": row.get("reason", ""),
                    "host": host_line(told) if i == 0 else "",
                }
            )
    return out


def _end_to_end(told: Mapping[str, Any], row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    alike = [
        other
        for other in told["rows"]
        if other["includes"] != wording.COMPUTE
        and device_form(other) == device_form(row)
        and (other["backend"], other.get("provider")) == (row["backend"], row.get("provider"))
    ]
    return min(alike, key=lambda other: abs(other["threads"] - row["threads"]), default=None)


def speedup(told: Mapping[str, Any], fast: str, slow: str) -> Mapping[str, Any] | None:
    """How many times faster a form is than another on the device, measured in one run; None where
    it was not.
    """
    short = f"{fast.removeprefix('student_')}_vs_{slow.removeprefix('student_')}"
    for key, found in told["speedups"].items():
        if key.replace(".", "_") in (f"{fast}_vs_{slow}", short) and found.get("p50"):
            return dict(found)
    return None


def millijoules(value: float | None) -> str:
    """0.4123 -> "0.412 mJ"."""
    return ABSENT if value is None else f"{significant(value)}{wording.NARROW}mJ"


def marks(report: Mapping[str, Any]) -> dict[str, list[Mark]]:
    """Device -> its marks: what was measured, then estimates for devices that nobody measured."""
    groups: dict[str, list[Mark]] = {}
    for told in everywhere(report):
        rows = [row for row in _compute(told) if row["p50_ms"]]
        several = len({engine(row) for row in rows}) > 1
        group = [
            Mark(
                f"{form(device_form(row))}{f' · {engine(row)}' if several else ''}",
                color(device_form(row)),
                row["p50_ms"],
                row["p99_ms"],
                None if row["verdict"] == "VALID" else row["verdict"],
            )
            for row in rows
        ]
        if group:
            groups[told["name"]] = group
    for name, value, what in estimates(report):
        groups.setdefault(f"{name} (estimate)", []).append(
            Mark(what, color(report["student"]["shipped"]), value, estimate=True)
        )
    return groups


def estimates(report: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    """(device, p50 in ms, form) of budgets that rest on an estimate."""
    for row in report.get("budgets", []):
        if (
            row.get("basis") == "estimate"
            and row.get("unit") == "ms"
            and row.get("value")
            and row.get("device")
        ):
            file = (
                f"student_{row['precision']}"
                if row.get("precision")
                else report["student"]["shipped"]
            )
            yield row["device"], float(row["value"]), form(file)


def device_sentence(report: Mapping[str, Any]) -> str:
    """How fast the fastest student is on the fastest and on the slowest device."""
    if not report.get("devices"):
        return ""
    best = [
        (min(rows, key=lambda row: row["p50_ms"]), told["name"])
        for told in everywhere(report)
        if (
            rows := [
                row for row in _compute(told) if row["p50_ms"] and device_form(row) != "teacher"
            ]
        )
    ]
    (fast, first), (slow, last) = (
        pick(best, key=lambda pair: pair[0]["p50_ms"]) for pick in (min, max)
    )
    least, most = (
        f"{milliseconds(row['p50_ms'])} on {name}" for row, name in ((fast, first), (slow, last))
    )
    files = " and ".join(dict.fromkeys(form(device_form(row)) for row in (fast, slow)))
    return f"With its fastest file, one image takes from {least} to {most} ({files})."


def device_verdicts(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Which file each device should run: int8 against float in time, kernels, and the accuracy
    measured at the build.
    """
    out = []
    for told in everywhere(report):
        for name, backend in BACKENDS.items():
            forms = {device_form(row): row for row in _compute(told) if row["backend"] == name}
            if {_student(backend.model("int8")), _student(backend.rival)} <= set(forms):
                out.append(_verdict(report, told, backend, forms))
    return out


def _student(model: str) -> str:
    """The form of a model of the bundle: "int8.trt" -> "student_int8_trt"."""
    return f"student_{model.replace('.', '_')}"


def _verdict(
    report: Mapping[str, Any],
    told: Mapping[str, Any],
    backend: Backend,
    forms: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    int8, rival = _student(backend.model("int8")), _student(backend.rival)
    found, accuracy = speedup(told, int8, rival), report["accuracy"]
    if found is None and all(forms[name]["p50_ms"] for name in (int8, rival)):
        # Two medians, no interval.
        found = {"p50": forms[rival]["p50_ms"] / forms[int8]["p50_ms"], "ci95": None}
    ran = told["kernels"].get(forms[int8]["precision"]) or {}
    scores = [accuracy[name]["top1"] for name in (int8, "student_fp32") if name in accuracy]
    gained = scores[0] - scores[1] if len(scores) == 2 else None
    kept = gained is None or 100 * gained >= -MAX_DROP_POINTS - 1e-9
    reached = found is not None and (found["ci95"] or [0, found["p50"]])[1] >= backend.min_speedup
    pays = reached and backend.is_quantized(ran) and kept
    return {
        "device": told["name"],
        "ships": form(int8 if pays else rival).removeprefix("student "),
        "rival": form(rival).removeprefix("student "),
        "ratio": times(found["p50"]) if found else ABSENT,
        "ci95": f"{significant(found['ci95'][0])}–{significant(found['ci95'][1])}"
        if found and found["ci95"]
        else ABSENT,
        "limit": times(backend.min_speedup),
        "points": points(gained),
        "kernels": kernels(ran, backend.integer_kernels),
        "valid": all(forms[name]["verdict"] == "VALID" for name in (int8, rival)),
    }


def kernels(ran: Mapping[str, int], integer: frozenset[str]) -> str:
    """ "7 of 18": executed nodes that are integer kernels."""
    count = sum(value for name, value in ran.items() if name in integer)
    return f"{count} of {sum(ran.values())}" if ran else ABSENT


def energy_bars(report: Mapping[str, Any]) -> list[Bar]:
    """What sensors told, per device and form."""
    return [
        Bar(
            told["name"],
            form(device_form(row)),
            color(device_form(row)),
            float(row["energy"]["mj_per_inference"]),
        )
        for told in everywhere(report)
        for row in _compute(told)
        if (row.get("energy") or {}).get("mj_per_inference") is not None
    ]


def energy_sources(report: Mapping[str, Any]) -> Iterator[str]:
    """The sensors behind the energies."""
    for told in everywhere(report):
        yield from (str(row["energy"]["source"]) for row in _compute(told) if row.get("energy"))


def sustained(report: Mapping[str, Any]) -> list[Course]:
    """The devices that were kept under load, with at least two windows each."""
    courses = []
    for told in everywhere(report):
        line = [
            (float(w["t_s"]), float(w["p50_ms"]))
            for w in told.get("sustained") or []
            if w.get("p50_ms")
        ]
        if len(line) > 1:
            courses.append(Course(told["name"], line))
    return courses


def host_line(told: Mapping[str, Any]) -> str:
    """What a device's figures have to be read with."""
    host, row = told["host"], told["rows"][0] if told["rows"] else {}
    clocks = [mhz for mhz in row.get("clock_mhz") or () if mhz]
    heat = [celsius for celsius in row.get("temperature_c") or () if celsius]
    versions = {
        name: value for one in told["rows"] for name, value in (one.get("versions") or {}).items()
    }
    listed = [
        host.get("cpu") if host.get("device") else None,
        f"{host['cores_usable']} cores" if host.get("cores_usable") else None,
        f"{clocks[-1]:,.0f} MHz" if clocks else None,
        f"{heat[-1]:.0f} °C" if heat else None,
        f"governor {host['governor']}" if host.get("governor") else None,
        ", ".join(f"{name} {value}" for name, value in versions.items()) or None,
        f"mode {told['mode']}, {_when(told['started'])}" if told["started"] else HERE,
    ]
    return " · ".join(part for part in listed if part)


def device_states(report: Mapping[str, Any]) -> list[str]:
    """What could not be measured on the merged devices, in their own words."""
    return [f"{told['name']}: {line}" for told in everywhere(report) for line in told["states"]]

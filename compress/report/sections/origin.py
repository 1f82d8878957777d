"""The section "Repeat": the machine, the provenance, versions and content hashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from compress.engine.config import Settings
from compress.report.model.report import Report
from compress.report.wording import count, size

T = TypeVar("T")


def environment_rows(report: Report) -> list[tuple[str, str]]:
    """The machine, without facts that it does not report."""
    host = report.environment
    cores = f"{host.cores_usable} usable, {host.cores_logical} logical"
    rows = {
        "device": host.device,
        "CPU": host.cpu,
        "architecture": host.arch,
        "cores": cores if host.cores_logical else None,
        "instructions": ", ".join(host.isa),
        "clock": f"{host.clock_mhz:,.0f} MHz" if host.clock_mhz else None,
        "power mode": host.power_mode,
        "governor": host.governor,
        "memory": size(host.memory_bytes) if host.memory_bytes else None,
        "kernel": host.kernel,
        "Python": host.python,
        "onnxruntime": host.versions.get("onnxruntime"),
    }
    return [(name, value) for name, value in rows.items() if value]


def provenance_rows(report: Report) -> list[tuple[str, str]]:
    """Dataset, teacher, generator and student with known revisions and licenses."""
    stages = report.provenance.stages
    facts = {
        name: stages[name].facts if name in stages else {}
        for name in ("data", "teacher", "generate")
    }
    teacher, student, seed = report.teacher, report.student, report.provenance.seed
    generator = facts["generate"]
    params = f"{count(teacher.params)} parameters" if teacher.params else ""
    revision, license_ = _tagged("revision", teacher.revision), _tagged("license", teacher.license)
    started = f"started from {student.init}"
    rows = {
        "dataset": [report.dataset.name, _tagged("license", facts["data"].get("license"))],
        "teacher": [teacher.name, params, revision, license_],
        "license notice": [str(facts["teacher"].get("license_notice") or "")],
        "generator": [
            str(generator.get("generator") or ""),
            _tagged("license", generator.get("generator_license")),
        ],
        "student": [student.name, f"{count(student.params)} parameters", started],
        "seed": ["" if seed is None else str(seed)],
    }
    joined = {name: ", ".join(filter(None, parts)) for name, parts in rows.items()}
    return [(name, value) for name, value in joined.items() if value]


def _tagged(name: str, value: object) -> str:
    return f"{name} {value}" if value else ""


def by_stage(values: Mapping[str, T]) -> dict[str, T]:
    """Values by stage, in the order of the pipeline."""
    known = [name for name in Settings.model_fields if name in values]
    return {name: values[name] for name in dict.fromkeys([*known, *values])}

"""Findings of a doctor, and packages that pretend another version."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest

from runtime.commands.findings import Finding


def by_name(findings: Any, group: str | None = None) -> dict[str, Finding]:
    return {f.name: f for f in findings if group in (None, f.group)}


def pretend(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str | None]) -> None:
    real = metadata.version

    def version(package: str) -> str:
        if package in versions:
            found = versions[package]
            if found is None:
                raise metadata.PackageNotFoundError(package)
            return found
        return real(package)

    monkeypatch.setattr(metadata, "version", version)

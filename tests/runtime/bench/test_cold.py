"""Cold starts in a real new process."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import BackendError
from runtime.bench.cold import measure_cold


def test_cold_process_loads_nothing_heavy(bundle: Path) -> None:
    cold = measure_cold(bundle, threads=1)
    assert cold.heavy_modules == ()
    assert cold.warm_ms is not None and 0 < cold.warm_ms <= cold.first_ms
    assert 0 < cold.import_ms < cold.process_ms and cold.first_ms > 0
    assert cold.peak_rss_bytes is None or cold.peak_rss_bytes < 400 * 2**20


def test_cold_process_would_see_a_heavy_module(bundle: Path, tmp_path: Path, monkeypatch) -> None:
    """The guard above, broken on purpose: a site hook imports something called typer."""
    (tmp_path / "typer.py").write_text("")
    (tmp_path / "usercustomize.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text("import typer\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert measure_cold(bundle, threads=1).heavy_modules == ("typer",)


def test_cold_failure_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="is not a bundle"):
        measure_cold(tmp_path)

"""A run's folder for the tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest
from finished_runs import Finished


@pytest.fixture
def run(finished: Finished, tmp_path: Path) -> Path:
    """A run folder as the pipeline leaves it: the report, the bundle, links to the stages."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name, stage in finished.stages.items():
        (folder / name).symlink_to(stage.path)
    (folder / "bundle").symlink_to(finished.stages["export"].path / "bundle")
    (folder / "report.json").write_text((finished.folder / "report.json").read_text())
    return folder

"""A tiny bundle with the labels rose, iris, daisy and tulip, that no test changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundles import make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assessed") / "bundle"
    return make_bundle(folder, tmp_path_factory.mktemp("scratch"))

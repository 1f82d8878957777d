"""Finished runs for the tests of several rooms, built once a session."""

from __future__ import annotations

import pytest
from drawn_shapes import shapes_folder
from finished_runs import Finished, finish

from compress.api import settings_for


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Twelve classes of drawn shapes, six shots, measured for a moment."""
    root = tmp_path_factory.mktemp("finished")
    overrides = {"bench": {"seconds": 0.2, "threads": [1]}}
    shapes = shapes_folder(root / "shapes")
    return finish(root, settings_for(data=shapes, teacher="petals", shots=6, overrides=overrides))


@pytest.fixture(scope="session")
def several_domains(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Petals with shots from the photos, tested on sketches and night too, 64 images each."""
    overrides = {
        "bench": {"seconds": 0.1, "threads": [1]},
        "data": {"test_domains": ["night", "sketch"], "test_limit": 64},
    }
    settings = settings_for("petals", shots=2, overrides=overrides)
    return finish(tmp_path_factory.mktemp("domains"), settings)

"""One small finished build for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from compress.api import run_stages, settings_for

torch.set_num_threads(1)  # the tests themselves run on every core


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests try and cache is not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    """What a test draws does not depend on those before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def smoke_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder that holds the finished run ``smoke``."""
    work = tmp_path_factory.mktemp("work")
    run_stages(
        settings_for("petals", shots=1, preset="smoke"),
        work,
        "smoke",
        command="compress build --preset smoke",
    )
    return work


@pytest.fixture(scope="session")
def smoke(smoke_work: Path) -> Path:
    """The folder of the finished run ``smoke``: config.yaml, bundle/, report.json, and a link per
    stage.
    """
    return smoke_work / "runs" / "smoke"

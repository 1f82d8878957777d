"""Fixtures of the tests of the generate stage."""

from __future__ import annotations

from collections.abc import Iterator

import echo_runs
import pytest

from compress.generate import shards
from compress.generate.generators import table
from compress.generate.generators.generator import GeneratorWeights


@pytest.fixture
def echoes(monkeypatch: pytest.MonkeyPatch) -> Iterator[echo_runs.Loader]:
    """Registers generator "echo" and small shards; gives its loader."""
    monkeypatch.setitem(table.KINDS, "echo", echo_runs.echo_kind(noises=True))
    monkeypatch.setitem(table.GENERATORS, "echo", GeneratorWeights("echo"))
    monkeypatch.setattr(shards, "SHARD_IMAGES", 8)
    yield echo_runs.LOADER
    echo_runs.LOADER.loaded.clear()
    echo_runs.LOADER.queue.clear()

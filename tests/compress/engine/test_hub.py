"""Weights from the hub, its cache, or a local file."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.engine.hub import cached, hub, snapshot_revision


def test_the_hub_is_asked_once_and_its_silence_means_offline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens on the discard port
    with hub() as online:
        assert not online
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE


def test_the_revision_of_a_cached_file_is_its_commit() -> None:
    assert snapshot_revision(Path("/c/models--a--b/snapshots/abc123/w.safetensors")) == "abc123"
    assert snapshot_revision(Path("/somewhere/w.safetensors")) is None


def test_a_snapshot_in_the_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert not cached("someone/some-model") and not cached("") and not cached("/a/folder")
    repository = tmp_path / "models--someone--some-model"
    (repository / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    assert cached("someone/some-model")

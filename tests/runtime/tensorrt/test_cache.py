"""The engine cache: identity, trust, atomic writes and the lock. Real files and processes, stand-in
engines.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cuda_stand_in import ORIN

from runtime import BackendError
from runtime.tensorrt.cache import EngineCache, Identity, default_folder
from runtime.tensorrt.settings import EngineSettings

IDENTITY = Identity("a" * 64, "10.3.0", "12.6", ORIN, EngineSettings())


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "cache")


def test_a_kept_engine_comes_back_with_its_facts(cache: EngineCache) -> None:
    path = cache.save(IDENTITY, b"machine code", {"build_seconds": 2.0})
    entry, why = cache.load(IDENTITY)
    assert entry is not None and entry.data == b"machine code" and why == "from the cache"
    assert entry.sidecar["build_seconds"] == 2.0
    assert entry.sidecar["identity"]["gpu"]["name"] == "Orin"
    assert path.stat().st_mode & 0o777 == 0o600 and cache.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "other",
    [
        replace(IDENTITY, model_sha256="b" * 64),
        replace(IDENTITY, tensorrt="10.3.1"),
        replace(IDENTITY, cuda="12.8"),
        replace(IDENTITY, gpu=replace(ORIN, name="Thor")),
        replace(IDENTITY, gpu=replace(ORIN, compute_capability="11.0")),
        replace(IDENTITY, gpu=replace(ORIN, multiprocessors=16)),
        replace(IDENTITY, settings=EngineSettings(max_batch=16)),
        replace(IDENTITY, settings=EngineSettings(opt_batch=8)),
        replace(IDENTITY, settings=EngineSettings(optimization_level=5)),
        replace(IDENTITY, settings=EngineSettings(workspace_mib=64)),
        replace(IDENTITY, settings=EngineSettings(tf32=True)),
    ],
)
def test_any_difference_is_another_engine(cache: EngineCache, other: Identity) -> None:
    cache.save(IDENTITY, b"one", {})
    assert other.key != IDENTITY.key
    assert cache.load(other)[0] is None


def test_a_key_is_the_same_in_another_process() -> None:
    assert IDENTITY.key == Identity("a" * 64, "10.3.0", "12.6", replace(ORIN), EngineSettings()).key
    assert len(IDENTITY.key) == 32


def test_memory_that_differs_between_boots_is_the_same_engine(cache: EngineCache) -> None:
    cache.save(IDENTITY, b"machine code", {})
    later = replace(IDENTITY, gpu=replace(ORIN, memory_bytes=ORIN.memory_bytes - 4096))
    assert later.key == IDENTITY.key and cache.load(later)[0] is not None


def test_a_lock_that_is_a_link_is_an_error(cache: EngineCache, tmp_path: Path) -> None:
    (cache.folder / f"{IDENTITY.key}.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackendError, match="not trusted"), cache.lock(IDENTITY):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_changed_engine_is_not_used(cache: EngineCache) -> None:
    path = cache.save(IDENTITY, b"machine code", {})
    path.write_bytes(b"machine Code")
    assert cache.load(IDENTITY) == (None, "it is not the file that its sidecar describes")


def test_a_sidecar_of_another_identity_is_not_used(cache: EngineCache) -> None:
    cache.save(IDENTITY, b"machine code", {})
    sidecar = cache.folder / f"{IDENTITY.key}.json"
    changed = json.loads(sidecar.read_text())
    changed["identity"]["tensorrt"] = "10.4.0"
    sidecar.write_text(json.dumps(changed))
    assert cache.load(IDENTITY) == (None, "its sidecar names another identity")
    sidecar.write_text("{")
    assert cache.load(IDENTITY) == (None, "its sidecar is damaged")
    sidecar.unlink()
    assert cache.load(IDENTITY) == (None, "not in the cache")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
@pytest.mark.parametrize("suffix", [".engine", ".json"])
def test_a_file_that_others_may_write_is_an_error(
    cache: EngineCache, mode: int, suffix: str
) -> None:
    cache.save(IDENTITY, b"machine code", {})
    (cache.folder / f"{IDENTITY.key}{suffix}").chmod(mode)
    with pytest.raises(BackendError, match="not trusted.*others may write it"):
        cache.load(IDENTITY)


def test_a_linked_engine_is_an_error(cache: EngineCache, tmp_path: Path) -> None:
    path = cache.save(IDENTITY, b"machine code", {})
    (tmp_path / "elsewhere").write_bytes(b"machine code")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackendError, match="not trusted"):
        cache.load(IDENTITY)


def test_a_pipe_in_place_of_an_engine_is_an_error_and_no_wait(cache: EngineCache) -> None:
    path = cache.save(IDENTITY, b"machine code", {})
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(BackendError, match="no regular file"):
        cache.load(IDENTITY)


def test_another_users_engine_is_an_error(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.save(IDENTITY, b"machine code", {})
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(BackendError, match=f"belongs to user {me}, this process runs as {me + 1}"):
        cache.load(IDENTITY)
    with pytest.raises(BackendError, match="belongs to user"):
        EngineCache(cache.folder)


def test_a_folder_that_others_may_write_or_a_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(BackendError, match="others may write it"):
        EngineCache(tmp_path / "open")
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(BackendError, match="links are not followed"):
        EngineCache(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(BackendError, match="CLIP2EDGE_CACHE"):
        EngineCache(tmp_path / "file")


def test_a_write_that_fails_leaves_the_old_engine(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.save(IDENTITY, b"old", {})

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackendError, match="No space left on device"):
        cache.save(IDENTITY, b"new", {})
    entry, _ = cache.load(IDENTITY)
    assert entry is not None and entry.data == b"old"
    assert not list(cache.folder.glob(".*tmp"))


def test_the_timing_cache_serves_all_models_of_a_gpu(cache: EngineCache) -> None:
    assert cache.load_timing(IDENTITY) == b""
    cache.save_timing(IDENTITY, b"timings")
    assert (
        cache.load_timing(
            replace(IDENTITY, model_sha256="c" * 64, settings=EngineSettings(tf32=True))
        )
        == b"timings"
    )
    assert cache.load_timing(replace(IDENTITY, tensorrt="11.4.0")) == b""
    assert cache.load_timing(replace(IDENTITY, gpu=replace(ORIN, multiprocessors=14))) == b""


def _build_slowly(folder: Path, log: Any) -> None:
    cache = EngineCache(folder)
    with cache.lock(IDENTITY, seconds=20):
        found = cache.load(IDENTITY)[0]
        log.append("found" if found else "built")
        if not found:
            time.sleep(0.3)
            cache.save(IDENTITY, b"machine code", {})


def test_of_two_processes_one_builds(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        log = manager.list()
        workers = [
            context.Process(target=_build_slowly, args=(tmp_path / "cache", log)) for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert sorted(log) == ["built", "found"]


def test_a_lock_that_is_never_given_back_is_an_error(cache: EngineCache) -> None:
    with (
        cache.lock(IDENTITY),
        pytest.raises(BackendError, match="another process is building this engine"),
        cache.lock(IDENTITY, seconds=0),
    ):
        pass
    with cache.lock(IDENTITY, seconds=0):
        pass


def test_the_folder_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLIP2EDGE_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "tensorrt"
    monkeypatch.delenv("CLIP2EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "clip2edge/tensorrt"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache/clip2edge/tensorrt"

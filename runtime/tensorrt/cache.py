"""Built engines under their identity (all they depend on), trusted only if this user wrote them.

An engine is machine code: deserializing one that somebody else wrote runs their code. So none is
read from a bundle or a given path; only from this user's cache folder, only if folder and files
belong to the user and nobody else can write them, and only if the sidecar holds the expected
identity and the engine's SHA-256. What is hashed is what is used: a file is opened once, without
following a link, checked and read through that descriptor.

    <cache>/<key>.engine   <cache>/<key>.json   <cache>/<key>.lock   and the same for timing caches
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.errors import BackendError, BundleError
from runtime.files.atomic import atomic
from runtime.files.home import cache_folder
from runtime.files.strict_json import MAX_JSON_BYTES, parse_json
from runtime.tensorrt.cuda import CudaDevice
from runtime.tensorrt.settings import EngineSettings

SCHEMA = 1
MAX_ENGINE_BYTES = 4 * 2**30
LOCK_SECONDS = 1800.0  # an engine for a large teacher takes many minutes on a small device
OWN_FOLDER = "set CLIP2EDGE_CACHE to a folder of your own"


@dataclass(frozen=True)
class Identity:
    """All that an engine depends on; any difference is another engine."""

    model_sha256: str
    tensorrt: str
    cuda: str
    gpu: CudaDevice
    settings: EngineSettings

    def to_json(self) -> dict[str, object]:
        return {"schema": SCHEMA, **asdict(self), "gpu": self.gpu.identity()}

    @property
    def key(self) -> str:
        """32 hex digits: SHA-256 of the canonical JSON."""
        return _digest(self.to_json())

    def timing(self) -> dict[str, object]:
        """The identity of the timing cache, one for all models on this GPU and TensorRT."""
        used = {"tensorrt": self.tensorrt, "gpu": self.gpu.identity()}
        return {"schema": SCHEMA, "timing_cache": True, **used}


@dataclass(frozen=True)
class CacheEntry:
    """A trusted file of the cache, and its sidecar."""

    data: bytes
    sidecar: dict[str, object]


class EngineCache:
    """The cache in ``folder`` (default: ``default_folder()``), for this user alone.

    Raises:
        BackendError: somebody else owns or can write the folder or one of its files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            facts = os.lstat(self.folder)
        except OSError as error:
            what = "the engine cache cannot be used"
            got = f"{self.folder}: {error.strerror}"
            raise BackendError(what, got=got, remedy=OWN_FOLDER) from error
        if not stat.S_ISDIR(facts.st_mode):
            raise _untrusted(self.folder, "it is not a folder (links are not followed)")
        _check_owner(self.folder, facts)

    def load(self, identity: Identity) -> tuple[CacheEntry | None, str]:
        """The engine of ``identity``, or None, and the reason.

        A damaged or mismatched entry counts as absent; one that others can write is an error.
        """
        return self._read(identity.key, ".engine", identity.to_json())

    def save(self, identity: Identity, engine: bytes, facts: dict[str, object]) -> Path:
        """Stores an engine and its sidecar: identity, size, SHA-256, ``facts`` (layers, ...)."""
        return self._write(identity.key, ".engine", engine, identity.to_json(), facts)

    def load_timing(self, identity: Identity) -> bytes:
        """The timing cache of this GPU and TensorRT; empty if there is none."""
        entry, _ = self._read(_digest(identity.timing()), ".timing", identity.timing())
        return entry.data if entry else b""

    def save_timing(self, identity: Identity, data: bytes) -> Path:
        return self._write(_digest(identity.timing()), ".timing", data, identity.timing(), {})

    @contextlib.contextmanager
    def lock(self, identity: Identity, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Held by the one process that builds this engine; a second waits for it.

        Raises:
            BackendError: still held after ``seconds``.
        """
        path = self.folder / f"{identity.key}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:  # a link, or a folder that cannot be written
            raise _untrusted(path, error.strerror or str(error)) from error
        try:
            deadline = time.monotonic() + seconds
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as held:
                    if time.monotonic() >= deadline:
                        what = f"another process is building this engine for over {seconds:g} s"
                        raise BackendError(what, remedy=f"if none is, remove {path}") from held
                time.sleep(0.1)
            yield
        finally:
            os.close(descriptor)  # releases the lock

    def _read(
        self, key: str, suffix: str, identity: dict[str, object]
    ) -> tuple[CacheEntry | None, str]:
        sidecar_text = _read_own(self.folder / f"{key}.json", MAX_JSON_BYTES)
        data = _read_own(self.folder / f"{key}{suffix}", MAX_ENGINE_BYTES)
        if sidecar_text is None or data is None:
            return None, "not in the cache"
        try:
            sidecar = parse_json(sidecar_text, f"{key}.json")
        except BundleError:
            return None, "its sidecar is damaged"
        if not isinstance(sidecar, dict) or sidecar.get("identity") != identity:
            return None, "its sidecar names another identity"
        if sidecar.get("sha256") != hashlib.sha256(data).hexdigest():
            return None, "it is not the file that its sidecar describes"
        return CacheEntry(data, sidecar), "from the cache"

    def _write(
        self,
        key: str,
        suffix: str,
        data: bytes,
        identity: dict[str, object],
        facts: dict[str, object],
    ) -> Path:
        target = self.folder / f"{key}{suffix}"
        digest = hashlib.sha256(data).hexdigest()
        sidecar = {"identity": identity, "bytes": len(data), "sha256": digest, **facts}
        text = json.dumps(sidecar, indent=1, sort_keys=True)
        _replace(target, data)  # the file first: with an older sidecar it counts as absent
        _replace(self.folder / f"{key}.json", text.encode())
        return target


def default_folder() -> Path:
    """$CLIP2EDGE_CACHE/tensorrt, else clip2edge/tensorrt in $XDG_CACHE_HOME or ~/.cache."""
    return cache_folder("tensorrt")


def _read_own(path: Path, max_bytes: int) -> bytes | None:
    """The content of a regular file of this user, which nobody else may write; None if absent."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:  # ELOOP: a link
        raise _untrusted(path, error.strerror or str(error)) from error
    with os.fdopen(descriptor, "rb") as stream:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise _untrusted(path, "it is no regular file")
        _check_owner(path, facts)
        if facts.st_size > max_bytes:
            raise _untrusted(path, f"it has {facts.st_size:,} bytes of at most {max_bytes:,}")
        return stream.read(max_bytes)


def _check_owner(path: Path, facts: os.stat_result) -> None:
    if facts.st_uid != os.getuid():
        why = f"it belongs to user {facts.st_uid}, this process runs as {os.getuid()}"
        raise _untrusted(path, why)
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _untrusted(path, f"others may write it (mode {stat.S_IMODE(facts.st_mode):o})")


def _untrusted(path: Path, why: str) -> BackendError:
    return BackendError(
        f"the engine cache is not trusted: {path}",
        got=why,
        expected="written by this user, and writable by nobody else",
        remedy=f"an engine is machine code; see who wrote it, then remove it, or {OWN_FOLDER}",
    )


def _replace(path: Path, data: bytes) -> None:
    """Writes a whole file, for this user alone: another process sees the old one or the new one."""
    try:
        with atomic(path) as partial:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(partial, flags, 0o600), "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
    except OSError as error:
        got = error.strerror or error
        raise BackendError(f"cannot write {path}", got=got, remedy="free some space") from error


def _digest(value: dict[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]

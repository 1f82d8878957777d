"""Built engines, kept under the identity of all that they depend on, and trusted only where this
user wrote them.

An engine is machine code: deserializing one that somebody else wrote runs their code. So none is
    ever read from a bundle
or from a path that was handed over; only from this user's cache folder, only if folder and files
belong to the user and nobody else can write them, and only if the sidecar beside it holds the
expected identity and the engine's SHA-256. What
was hashed is what is used: a file is opened once, without following a link, checked and read
    through that descriptor.

    <cache>/<key>.engine   <cache>/<key>.json   <cache>/<key>.lock   and the same for timing caches
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.errors import BackendError, BundleError
from runtime.files.strict_json import MAX_JSON_BYTES, parse_json
from runtime.tensorrt.cuda import Gpu
from runtime.tensorrt.settings import EngineSettings

SCHEMA = 1
MAX_ENGINE_BYTES = 4 * 2**30
LOCK_SECONDS = 1800.0  # an engine for a large teacher takes many minutes on a small device
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Identity:
    """All that an engine depends on; a difference in anything is another engine."""

    model_sha256: str
    tensorrt: str
    cuda: str
    gpu: Gpu
    settings: EngineSettings

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"schema": SCHEMA, **asdict(self), "gpu": self.gpu.identity()}

    @property
    def key(self) -> str:
        """32 hex digits: SHA-256 of the canonical JSON."""
        return _digest(self.to_json())

    def timing(self) -> dict[str, Any]:
        """The identity of the timing cache, which serves every model on this GPU with this
        TensorRT.
        """
        return {
            "schema": SCHEMA,
            "timing_cache": True,
            "tensorrt": self.tensorrt,
            "gpu": self.gpu.identity(),
        }


@dataclass(frozen=True)
class Entry:
    """A file of the cache that was found trustworthy, and its sidecar."""

    data: bytes
    sidecar: dict[str, Any]


class EngineCache:
    """The cache in ``folder`` (default: ``default_folder()``), made with permissions for this user
    alone.

    Raises:
        BackendError: the folder, or one of its files, belongs to or can be written by somebody
            else.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            facts = os.lstat(self.folder)
        except OSError as error:
            raise BackendError(
                "the engine cache cannot be used",
                got=f"{self.folder}: {error.strerror}",
                remedy="set CLIP2EDGE_CACHE to a folder of your own",
            ) from error
        if not stat.S_ISDIR(facts.st_mode):
            raise _untrusted(self.folder, "it is not a folder (links are not followed)")
        _check_owner(self.folder, facts)

    def load(self, identity: Identity) -> tuple[Entry | None, str]:
        """The engine of ``identity``, or None, and in one sentence why.

        A damaged or mismatched entry counts as absent; one that others could have written is an
        error.
        """
        return self._read(identity.key, ".engine", identity.to_json())

    def save(self, identity: Identity, engine: bytes, facts: dict[str, Any]) -> Path:
        """Keeps an engine with its sidecar: identity, size, SHA-256 and ``facts`` (the layer
        report, build time, ...).
        """
        return self._write(identity.key, ".engine", engine, identity.to_json(), facts)

    def load_timing(self, identity: Identity) -> bytes:
        """The timing cache of this GPU and TensorRT; empty where there is none."""
        entry, _ = self._read(_digest(identity.timing()), ".timing", identity.timing())
        return entry.data if entry else b""

    def save_timing(self, identity: Identity, data: bytes) -> Path:
        """Keeps a timing cache."""
        return self._write(_digest(identity.timing()), ".timing", data, identity.timing(), {})

    @contextlib.contextmanager
    def lock(self, identity: Identity, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Held by the one process that builds this engine; a second waits, and then finds it in the
        cache.

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
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise BackendError(
                            "another process is building this engine",
                            got=f"waited {seconds:g} s",
                            remedy=f"if none is, remove {path}",
                        ) from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(descriptor)  # gives the lock back

    def _read(self, key: str, suffix: str, identity: dict[str, Any]) -> tuple[Entry | None, str]:
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
        return Entry(data, sidecar), "from the cache"

    def _write(
        self, key: str, suffix: str, data: bytes, identity: dict[str, Any], facts: dict[str, Any]
    ) -> Path:
        target = self.folder / f"{key}{suffix}"
        sidecar = {
            "identity": identity,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            **facts,
        }
        _replace(
            target, data
        )  # a sidecar without its file, or with an older one, is never taken for whole
        _replace(
            self.folder / f"{key}.json", json.dumps(sidecar, indent=1, sort_keys=True).encode()
        )
        return target


def default_folder() -> Path:
    """$CLIP2EDGE_CACHE/tensorrt, else $XDG_CACHE_HOME/clip2edge/tensorrt, else
    ~/.cache/clip2edge/tensorrt.
    """
    own = os.environ.get("CLIP2EDGE_CACHE")
    if own:
        return Path(own).expanduser() / "tensorrt"
    home = os.environ.get("XDG_CACHE_HOME")
    return (
        (Path(home) if home and Path(home).is_absolute() else Path("~/.cache").expanduser())
        / "clip2edge"
        / "tensorrt"
    )


def _read_own(path: Path, max_bytes: int) -> bytes | None:
    """The content of a regular file of this user; None where there is none.

    Raises:
        BackendError: a link, another's file, one that others may write, or a too large one.
    """
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
            raise _untrusted(
                path, f"it has {facts.st_size:,} bytes, at most {max_bytes:,} are expected"
            )
        return stream.read(max_bytes)


def _check_owner(path: Path, facts: os.stat_result) -> None:
    if facts.st_uid != os.getuid():
        raise _untrusted(
            path, f"it belongs to user {facts.st_uid}, this process runs as {os.getuid()}"
        )
    if facts.st_mode & OTHERS_MAY_WRITE:
        raise _untrusted(path, f"others may write it (mode {stat.S_IMODE(facts.st_mode):o})")


def _untrusted(path: Path, why: str) -> BackendError:
    return BackendError(
        f"the engine cache is not trusted: {path}",
        got=why,
        expected="written by this user, and writable by nobody else",
        remedy="an engine is machine code; look who wrote it, then remove it, or set "
        "CLIP2EDGE_CACHE to a folder of your own",
    )


def _replace(path: Path, data: bytes) -> None:
    """Writes a file as a whole: another process sees the old one or the new one."""
    partial = None
    try:
        descriptor, partial = tempfile.mkstemp(
            ".partial", f".{path.name}.", path.parent
        )  # for this user alone
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError as error:
        if partial is not None:
            with contextlib.suppress(OSError):
                os.unlink(partial)
        raise BackendError(
            f"cannot write {path}", got=error.strerror or error, remedy="free some space"
        ) from error


def _digest(value: Any) -> str:
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()[:32]

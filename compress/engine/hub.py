"""Weights that lie elsewhere: the Hugging Face Hub when it answers, its local cache when it does
not, and local files.

Without a network ``huggingface_hub`` retries for most of a minute before it gives up, so it is
first asked once, with a short limit, whether the hub answers at all; if not, only the local cache
is looked at and a miss is an error at once.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.engine.errors import DownloadError
from compress.engine.store import canonical, sha256_file, sha256_text

ENDPOINT = "https://huggingface.co"
PATIENCE_S = 5.0


def hub_answers(timeout_s: float = PATIENCE_S) -> bool:
    """Whether the hub (or the mirror named by ``HF_ENDPOINT``) can be reached, proxies of the
    environment included.
    """
    request = urllib.request.Request(os.environ.get("HF_ENDPOINT", ENDPOINT), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s):
            return True
    except urllib.error.HTTPError:
        return True  # it answered, if only to refuse this page
    except (OSError, ValueError):
        return False


@contextmanager
def hub(offline: bool = False) -> Iterator[bool]:
    """Inside, downloads use the network if it answers and the local cache alone if not; yields
    whether it is online.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline or not hub_answers()
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE = before


def not_available(what: str, error: BaseException, *, place: str) -> DownloadError:
    """The one error for weights that are neither on disk nor reachable: what, where to put it, what
    works offline.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return DownloadError(
        f"{what} is neither on this machine nor could it be downloaded",
        got=lines[0][:200],
        remedy=f"{place}; `compress build --dataset petals --shots 4` works offline",
    )


def fingerprint_path(path: Path) -> str:
    """SHA-256 over the names and bytes of a file, or of all files below a folder.

    Raises:
        OSError: the path cannot be read.
    """
    files = (
        [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())
    )
    names = {
        str(file.relative_to(path)) if file != path else file.name: sha256_file(file)
        for file in files
    }
    return sha256_text(canonical(names))


def snapshot_revision(file: Path) -> str | None:
    """The commit of a file in the hub's cache (``.../snapshots/<commit>/...``), or None for a file
    elsewhere.
    """
    parts = file.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-1] else None


def fingerprint_tensors(state: dict[str, object]) -> str:
    """SHA-256 over the names, shapes, types and bytes of a torch state dict."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name]
        if isinstance(value, torch.Tensor):
            digest.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
            digest.update(
                value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
            )
    return digest.hexdigest()


def cached(repository: str) -> bool:
    """Whether a snapshot of a hub repository lies in the local cache."""
    if not repository:
        return False
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return folder.is_dir() and any(folder.iterdir())

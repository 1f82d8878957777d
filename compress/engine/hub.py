"""Weights from elsewhere: the Hugging Face Hub, its local cache, and local files.

Without a network ``huggingface_hub`` retries for most of a minute before it gives up. So one
request with a short limit asks first whether the hub answers; if not, only the local cache is used
and a miss is an error at once.
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
from compress.engine.text import shortened

ENDPOINT = "https://huggingface.co"
PATIENCE_S = 5.0
OFFLINE_COMMAND = "compress build --dataset petals --shots 4"


def hub_answers(timeout_s: float = PATIENCE_S) -> bool:
    """Whether the hub, or the mirror in ``HF_ENDPOINT``, can be reached, also through a proxy."""
    request = urllib.request.Request(os.environ.get("HF_ENDPOINT", ENDPOINT), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s):
            return True
    except urllib.error.HTTPError:
        return True  # it answers, if only to refuse this page
    except (OSError, ValueError):
        return False


@contextmanager
def hub(offline: bool = False) -> Iterator[bool]:
    """Inside, downloads use the network if the hub answers, else the local cache alone.

    Yields whether it is online. The constant is patched because open_clip and timm download for
    themselves and take no ``local_files_only``.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline or not hub_answers()
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE = before


def cached(repository: str) -> bool:
    """Whether a snapshot of a hub repository is in the local cache."""
    from huggingface_hub import snapshot_download

    try:
        return bool(snapshot_download(repository, local_files_only=True))
    except (OSError, ValueError):  # no snapshot; not the id of a repository
        return False


def not_available(what: str, error: BaseException, *, place: str) -> DownloadError:
    """The error for weights that are neither here nor reachable; ``place``: where to put them."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return DownloadError(
        f"{what} is neither on this machine nor could it be downloaded",
        got=shortened(lines[0], 200),
        remedy=f"{place}; `{OFFLINE_COMMAND}` works offline",
    )


def snapshot_revision(file: Path) -> str | None:
    """The commit in ``.../snapshots/<commit>/...``, or None for a file outside the hub's cache."""
    parts = file.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-1] else None


def fingerprint_path(path: Path) -> str:
    """SHA-256 over the names and bytes of a file, or of all files below a folder."""
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sha256_text(canonical({str(f.relative_to(root)): sha256_file(f) for f in files}))


def fingerprint_tensors(state: dict[str, object]) -> str:
    """SHA-256 over the names, shapes, types and bytes of a torch state dict."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name]
        if isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()

"""Files of weights: what their heads say, and their tensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compress.engine.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

# of a checkpoint; averaged weights before the last ones, as timm takes them
PARTS = ("state_dict_ema", "model_ema", "state_dict", "model")
# safetensors' names of types that are no floating point -> torch's
INTEGERS = {**{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}, "U8": "uint8", "BOOL": "bool"}
MOST_KEYS = 6  # in an error
HEAD = 64  # bytes that tell what a file is
MOST_HEADER = 1 << 30  # bytes of a safetensors file's head


def require_tensors(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes in a safetensors file, by name; ConfigError if it is none. Reads its head only."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy") as tensors:
            names: list[str] = tensors.keys()
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        raise _unreadable(file, error) from error


def read_tensors(file: Path, device: str = "cpu") -> dict[str, Tensor]:
    """The float32 tensors of a safetensors file, or of a pickle with weights_only=True.

    Of a checkpoint one of ``PARTS`` counts. ConfigError if it holds none, or some that are not
    finite.

    Args:
        device: "meta" for names, shapes and types alone.
    """
    import torch

    if file.suffix == ".safetensors":
        given: object = _safe(file, device)
    else:
        given = _pickled(file, device)
    for part in PARTS:
        if isinstance(given, dict) and isinstance(given.get(part), dict):
            given = given[part]
    tensors = given.items() if isinstance(given, dict) else ()
    found = {str(name): value for name, value in tensors if isinstance(value, torch.Tensor)}
    if not found:
        keys = ", ".join(map(str, list(given)[:MOST_KEYS])) if isinstance(given, dict) else ""
        got = f"{type(given).__name__}" + (f" of {keys}" if keys else "")
        expected = f"tensors by name, or a checkpoint with one of {', '.join(PARTS)}"
        raise ConfigError(f"{file} holds no weights", got=got, expected=expected)
    if device == "meta":
        return found
    require_finite(found, file)
    return {
        name: value.float().contiguous() if value.is_floating_point() else value
        for name, value in found.items()
    }


def _safe(file: Path, device: str) -> dict[str, Tensor]:
    import torch
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        if device != "meta":
            return dict(load_file(file))
        with safe_open(file, "pt") as tensors:
            names: list[str] = tensors.keys()
            slices = {name: tensors.get_slice(name) for name in names}
        integers = {name: getattr(torch, kind) for name, kind in INTEGERS.items()}
        return {
            name: torch.empty(
                one.get_shape(), dtype=integers.get(one.get_dtype(), torch.float32), device="meta"
            )
            for name, one in slices.items()
        }
    except (OSError, SafetensorError) as error:
        raise _unreadable(file, error) from error


def _pickled(file: Path, device: str) -> object:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats; the error says what to do
            return torch.load(file, map_location=device, weights_only=True)
    except Exception as error:  # pickle, zip and torch raise their own
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> ConfigError:
    """What a file is that holds no weights, by its first bytes."""
    what = f"{file} holds no weights that can be read"
    expected = "a .safetensors file, or a pickle of tensors for weights_only=True"
    remedy = "save model.state_dict() of the network as .safetensors"
    got = first_line(error)
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError as unread:
        return ConfigError(what, got=first_line(unread), expected=expected)
    size = int.from_bytes(head[:8], "little")
    is_pickle = head[:2] == b"PK" or head[:1] == b"\x80"
    if not head:
        got, remedy = "an empty file", "download it again"
    elif head.lstrip()[:1] == b"<":
        got, remedy = "a web page", "download the file itself, not the page about it"
    elif head.startswith(b"version https://git-lfs"):
        got, remedy = "the pointer of a large file", "git lfs pull"
    elif is_pickle and file.suffix == ".safetensors":
        got, remedy = "a pickle", "rename it to .pth: it is read with weights_only=True"
    elif head[8:9] == b"{" and size < MOST_HEADER and file.suffix != ".safetensors":
        got, remedy = "a safetensors file under another name", "rename it to .safetensors"
    elif "weights only" in str(error).lower():
        got = "a pickle of more than tensors, e.g. of a whole module, which can run code"
    elif is_pickle:
        got, remedy = "a file that is cut short or damaged", "download it again"
    return ConfigError(what, got=got, expected=expected, remedy=remedy)


def require_finite(tensors: Mapping[str, Tensor], of: object) -> None:
    """Raises ConfigError for weights with NaN or infinity, as a training that failed saves them.

    Args:
        of: where they are from.
    """
    import torch

    wrong = [
        name
        for name, value in tensors.items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if wrong:
        raise ConfigError(
            f"{of} holds weights that are no numbers",
            got=f"NaN or infinity in {len(wrong)} of {len(tensors)} tensors, e.g. {wrong[0]}",
            expected="finite weights",
            remedy="save it again from a training that went well, or download it again",
        )


def first_line(error: Exception) -> str:
    """The first line of an error's text, shortened."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

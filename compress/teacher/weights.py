"""Files of weights: what their heads say, and their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compress.engine.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


def require_tensors(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes in a safetensors file, by name; ConfigError if it is none. Reads its head only."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy") as tensors:
            names: list[str] = tensors.keys()
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        expected = "a .safetensors file"
        raise ConfigError(
            f"{file} holds no weights that can be read", got=first_line(error), expected=expected
        ) from error


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The float32 tensors of a safetensors file, or of a pickle with weights_only=True.

    Of a checkpoint the part ``state_dict`` or ``model`` counts. ConfigError if it holds none, or
    some that are not finite.
    """
    import torch
    from safetensors.torch import load_file

    if file.suffix == ".safetensors":
        require_tensors(file)
        given: object = load_file(file)
    else:
        try:
            given = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # pickle, zip and torch raise their own
            expected = "a .safetensors file, or a pickle of tensors for weights_only=True"
            raise ConfigError(
                f"{file} holds no weights that can be read",
                got=first_line(error),
                expected=expected,
            ) from error
    for part in ("state_dict", "model"):
        if isinstance(given, dict) and isinstance(given.get(part), dict):
            given = given[part]
    tensors = given.items() if isinstance(given, dict) else ()
    found = {str(name): value for name, value in tensors if isinstance(value, torch.Tensor)}
    if not found:
        expected = "tensors by name"
        raise ConfigError(f"{file} holds no weights", got=type(given).__name__, expected=expected)
    require_finite(found, file)
    return {
        name: value.float().contiguous() if value.is_floating_point() else value
        for name, value in found.items()
    }


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

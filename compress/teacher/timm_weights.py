"""A file's tensors in a timm network: what belongs there goes in, anything else is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compress.engine.errors import ConfigError
from compress.teacher.weights import first_line

if TYPE_CHECKING:
    from torch import Tensor

# What trainers put before the names of a network: data parallel, torch.compile, Lightning.
WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.")


def network_with(architecture: str, state: Mapping[str, Tensor], file: str) -> Any:
    """The network with the tensors of a file, and with a row for each class that it has rows for.

    timm's own loader puts them in, with its renamings for published files. Without rows the network
    has no classifier. Under ``torch.device("meta")``, with tensors there, nothing is computed.

    Args:
        file: for an error.

    Raises: ConfigError: tensors that the network lacks or has not, or other shapes.
    """
    import timm

    plain: Any = timm.create_model(architecture)
    own: dict[str, Tensor] = plain.state_dict()
    given = _unwrapped(state, own)
    heads = classifier_names(plain.pretrained_cfg)
    rows = next((len(given[f"{one}.weight"]) for one in heads if f"{one}.weight" in given), None)
    if rows is None:
        parts = tuple(f"{one}." for one in heads)
        given |= {name: value for name, value in own.items() if name.startswith(parts)}
    count = plain.num_classes if rows is None else rows
    integers = [
        name
        for name, value in given.items()
        if name in own and own[name].is_floating_point() and not value.is_floating_point()
    ]
    if integers:
        kind = str(given[integers[0]].dtype).removeprefix("torch.")
        raise ConfigError(
            f"these are not the weights of {architecture}",
            got=f"{file}: {integers[0]} is {kind}",
            expected="floating point, as it was trained",
        )
    overlay = {"state_dict": dict(given), "num_classes": count}
    try:
        model: Any = timm.create_model(
            architecture, pretrained=True, num_classes=count, pretrained_cfg_overlay=overlay
        )
    except Exception as error:  # torch's of names and shapes, or what a renaming did not find
        raise _misfit(architecture, given, own, heads, file, error) from error
    model.pretrained_cfg.pop("state_dict", None)
    if rows is None:
        model.reset_classifier(0)
    return model


def classifier_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers that name classes, by a network's configuration."""
    found = config.get("classifier") or ()
    return (found,) if isinstance(found, str) else tuple(found)


def _unwrapped(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the network's names, if a trainer put something before all of them."""
    found = dict(state)
    while found and not found.keys() & own.keys():
        before = next((w for w in WRAPPERS if all(name.startswith(w) for name in found)), None)
        if before is None:
            return dict(state)
        found = {name.removeprefix(before): value for name, value in found.items()}
    return found


def _misfit(
    architecture: str,
    given: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    heads: tuple[str, ...],
    file: str,
    error: Exception,
) -> ConfigError:
    what = f"these are not the weights of {architecture}"
    remedy = f"name the network that they are of: --teacher timm:NAME@{file}"
    body = {name for name in own if not name.startswith(tuple(f"{one}." for one in heads))}
    missing = sorted(name for name in body if name not in given and "num_batches" not in name)
    if missing:
        inside = next((name for name in given if name.endswith(f".{missing[0]}")), None)
        if inside is not None:
            remedy = f"save that part alone, as the network's own state_dict() ({missing[0]}, ...)"
        there = f", but {inside}" if inside else ""
        return ConfigError(what, got=f"{file}: no {missing[0]}{there}", remedy=remedy)
    wrong = sorted(name for name in body if given[name].shape != own[name].shape)
    if wrong:
        got = f"{file}: {wrong[0]} {tuple(given[wrong[0]].shape)}"
        expected = f"{wrong[0]} {tuple(own[wrong[0]].shape)}"
        return ConfigError(what, got=got, expected=expected, remedy=remedy)
    further = sorted(name for name in given if name not in own)
    if further:
        got = f"{file}: {further[0]}, which that network has not ({len(further)} such tensors)"
        return ConfigError(what, got=got, remedy=remedy)
    return ConfigError(what, got=f"{file}: {first_line(error)}", remedy=remedy)

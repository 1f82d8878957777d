"""Before any work: room for the pixels and targets that data, generate and label will store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from compress.data.augment import views_each
from compress.data.checks import listed
from compress.data.datasets.catalog import dataset
from compress.data.split import Source
from compress.engine.config import Settings
from compress.engine.disk import require_space
from compress.engine.errors import StoreError
from compress.engine.preflight import Before, Check
from compress.generate.strategies.table import generates_images
from compress.teacher.loading import embed_dim

USUAL_SPACE = 768  # D of a teacher that does not publish it


def checks(before: Before) -> Iterator[Check]:
    """The disk has room."""
    yield partial(_room, before)


def _room(before: Before) -> None:
    settings = before.settings
    plain = settings.plain()
    try:
        require_space(before.store.root, bytes_needed(settings, before.once(listed)))
    except StoreError:
        for stage in before.store.stages("label"):  # a finished one needs no more room
            made_with = stage.identity.get("settings", {})
            if made_with and all(plain[name] == value for name, value in made_with.items()):
                return
        raise


def bytes_needed(settings: Settings, source: Source | None) -> int:
    """About how much the stages up to label store; test images of unread datasets not counted."""
    data = settings.data
    names = dataset(data.dataset).classes if data.dataset is not None else len(data.classes or ())
    classes = names if source is None else len(source.classes)
    shots = 0 if data.shots == "all" else classes * data.shots
    tests = 0
    if source is not None:
        shots = len(source.train) if data.shots == "all" else shots
        counts = (len(split) for split in (source.test, *source.others.values()))
        tests = sum(min(count, data.test_limit or count) for count in counts)
    generate = settings.generate
    synthetic = 0
    if generates_images(generate):
        ratio = generate.synth_ratio
        synthetic = classes * generate.per_class if ratio is None else round(ratio * shots)
    views = synthetic * settings.label.views
    each = views_each(shots, settings.label.views, *settings.label.limits)
    views += max(views, shots * each) if shots else 0
    pixels = 3 * (settings.image.resize**2 * (shots + synthetic) + settings.image.size**2 * tests)
    return pixels + views * (2 * (embed_dim(settings.teacher) or USUAL_SPACE) + 4 * classes)

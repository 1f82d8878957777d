"""Where the time of ``predict`` goes, from encoded image to labels, beside the bare engine."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, pairwise

import numpy as np
from PIL import Image

from runtime.backends import IMAGE
from runtime.bench import latency
from runtime.classifier import Classifier
from runtime.preprocess import decode, geometry

STAGES = ("decode", "geometry", "normalise", "compute", "post")
SPAN = {"ge": 0}  # ms: a stage may be too short for the clock


@dataclass(frozen=True)
class Breakdown:
    """Where the time of one encoded image goes: medians, ms. Stages are timed one by one.

    A bare call is Pillow's own decoding and the engine on a ready input: what cannot be saved.
    """

    decode_ms: float = field(metadata=SPAN)  # file to upright RGB
    geometry_ms: float = field(metadata=SPAN)  # resize and crop; 0 if the model does it
    normalise_ms: float = field(metadata=SPAN)  # to the model's input; 0 if the model does it
    compute_ms: float = field(metadata=SPAN)  # the engine
    post_ms: float = field(metadata=SPAN)  # softmax, ranking, labels
    end_to_end_ms: float = field(metadata=SPAN)  # ``Classifier.predict`` of the encoded image
    bare_ms: float | None = field(metadata=SPAN)
    over_bare: float | None = field(metadata=latency.POSITIVE)  # end_to_end_ms over bare_ms
    over_bare_ci95: tuple[float, float] | None
    n: int = field(metadata=latency.COUNT)  # images of the end-to-end series

    @property
    def stages_ms(self) -> dict[str, float]:
        """Stage -> ms, in the order of ``STAGES``."""
        return {stage: getattr(self, f"{stage}_ms") for stage in STAGES}


def break_down(
    classifiers: Mapping[str, Classifier], photos: Sequence[bytes], seconds: float
) -> tuple[dict[str, Breakdown], dict[str, latency.Samples]]:
    """Times every classifier on encoded images, interleaved: by stages, as a whole, and bare.

    Returns: name -> its breakdown; name -> the samples of ``predict``.
    """
    staged: dict[str, list[list[int]]] = {name: [] for name in classifiers}
    calls: dict[str, Callable[[], object]] = {}
    for name, classifier in classifiers.items():
        ready = [_input(classifier, decode(photo)) for photo in photos]
        calls[f"whole {name}"] = partial(_predict_next, classifier, cycle(photos))
        calls[f"stages {name}"] = _staged(classifier, cycle(photos), staged[name])
        calls[f"bare {name}"] = partial(_bare, classifier, cycle(zip(photos, ready, strict=True)))
    series = latency.measure(calls, seconds)
    return (
        {name: _breakdown(series, name, staged[name]) for name in classifiers},
        {name: series[f"whole {name}"] for name in classifiers},
    )


def _predict_next(classifier: Classifier, photos: Iterator[bytes]) -> object:
    return classifier.predict(next(photos))


def _staged(
    classifier: Classifier, photos: Iterator[bytes], rows: list[list[int]]
) -> Callable[[], object]:
    """The steps of ``predict``, a clock between them."""
    whole, now = classifier.takes == IMAGE, time.perf_counter_ns

    def call() -> None:
        photo, marks = next(photos), [now()]
        image = decode(photo)
        marks.append(now())
        pixels = np.asarray(image)[None] if whole else geometry(image, classifier.spec)[None]
        marks.append(now())
        batch = pixels if whole else classifier.feed(pixels)
        marks.append(now())
        logits = classifier.runner.run(batch)
        marks.append(now())
        classifier.ranked(logits)
        marks.append(now())
        rows.append([after - before for before, after in pairwise(marks)])

    return call


def _bare(classifier: Classifier, photos: Iterator[tuple[bytes, np.ndarray]]) -> None:
    photo, ready = next(photos)
    with Image.open(io.BytesIO(photo)) as image:
        image.convert("RGB")
    classifier.runner.run(ready)


def _input(classifier: Classifier, image: Image.Image) -> np.ndarray:
    if classifier.takes == IMAGE:
        return np.asarray(image)[None]
    return classifier.feed(geometry(image, classifier.spec)[None])


def _breakdown(
    series: Mapping[str, latency.Samples], name: str, rows: list[list[int]]
) -> Breakdown:
    whole, bare = series[f"whole {name}"], series[f"bare {name}"]
    timed = np.array(rows[series[f"stages {name}"].warmup :], np.int64)  # (n, 5)
    medians = np.median(timed, axis=0) / 1e6
    over = latency.ratio(whole, bare)
    return Breakdown(
        **{f"{stage}_ms": float(value) for stage, value in zip(STAGES, medians, strict=True)},
        end_to_end_ms=float(np.median(whole.ns)) / 1e6,
        bare_ms=float(np.median(bare.ns)) / 1e6,
        over_bare=over.p50,
        over_bare_ci95=over.ci95,
        n=whole.n,
    )

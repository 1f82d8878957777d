"""Every stage of ``predict`` is timed as itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundles import LABELS, SIZE, encoded, photo

from runtime import Classifier
from runtime.bench.breakdown import break_down


def test_stages_are_the_steps_of_predict(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stage is slowed down on purpose: the breakdown must blame it and no other."""
    import time

    from runtime import preprocess
    from runtime.bench import breakdown

    classifier = Classifier.load(bundle, "int8", threads=1)
    data = [encoded(photo(1), "JPEG")]

    def slow(image: Image.Image, spec: object) -> np.ndarray:
        time.sleep(0.02)
        return preprocess.geometry(image, spec)  # type: ignore[arg-type]

    monkeypatch.setattr(breakdown, "geometry", slow)
    found, whole = break_down({"int8": classifier}, data, 0.05)
    part = found["int8"]
    assert (
        part.geometry_ms > 20
        and sum((part.decode_ms, part.normalise_ms, part.compute_ms, part.post_ms)) < 20
    )
    assert whole["int8"].n == part.n


def test_a_model_that_takes_pixels_is_fed_with_pixels(bundle: Path) -> None:
    """Its normalization is inside: the stage must cost nothing and the engine must get bytes."""
    classifier = Classifier.load(bundle, "fp32", threads=1)

    class Pixels:
        provider, threads, versions, outputs, input_size, takes = (
            "x",
            1,
            {},
            ("logits",),
            SIZE,
            "pixels",
        )

        def run(self, images: np.ndarray, output: str = "logits") -> np.ndarray:
            assert images.dtype == np.uint8 and images.shape[1:] == (SIZE, SIZE, 3)
            return np.zeros((len(images), len(LABELS)), np.float32)

        def run_all(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
            return {name: self.run(images, name) for name in outputs}

    item = Classifier(Pixels(), classifier.label_rows, classifier.spec, "int8.u8in", "x")
    found, _ = break_down({"p": item}, [encoded(photo(1), "JPEG")], 0.05)
    assert found["p"].n >= 11

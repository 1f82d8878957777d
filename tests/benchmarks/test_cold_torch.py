"""The runtime's cold process against that of torch and timm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import encoded, photo

from benchmarks import cold_torch
from runtime import Classifier


@pytest.mark.slow
def test_both_cold_processes_name_the_same_label(tmp_path: Path) -> None:
    weights, onnx = cold_torch.make("test_efficientnet", tmp_path)
    image = tmp_path / "photo.png"
    image.write_bytes(encoded(photo(4, (300, 260))))
    theirs = cold_torch.torch_side("test_efficientnet", weights, image)
    assert Classifier.load(onnx, threads=1).predict(image)[0].index == theirs["label"]
    table = cold_torch.table({"runtime": [{**theirs, "import_ms": 1.0}], "torch + timm": [theirs]})
    assert "| first image, ms |" in table and np.isfinite(theirs["process_ms"])

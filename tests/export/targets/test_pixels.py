from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from PIL import Image
from small_graphs import chain, run
from tiny_bundles import SIZE, SPEC, photo

from compress.engine.errors import ExportError
from export.targets import parity, pixels
from runtime import PreprocessSpec, geometry, normalize


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_pixels_go_in_and_the_same_logits_come_out(kind, fp32, int8, batch) -> None:
    source = {"fp32": fp32, "int8": int8}[kind]
    model = pixels.takes_pixels(source, SPEC)
    assert model.graph.input[0].name == "pixels"
    wanted = run(source, normalize(batch, SPEC))
    assert (
        np.abs(run(model, batch) - wanted).max()
        < {"fp32": 1e-5, "int8": 0.05 * np.ptp(wanted)}[kind]
    )


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(9, 150),
    height=st.integers(9, 150),
    resize=st.integers(SIZE, SIZE + 9),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
)
def test_the_graph_resizes_and_crops_as_pillow_does(
    width: int, height: int, resize: int, interpolation: str
) -> None:
    spec = PreprocessSpec(SIZE, resize, interpolation, SPEC.mean, SPEC.std)
    image = Image.fromarray(photo(3, (width, height)))
    source = chain(helper.make_node("Relu", ["images"], ["logits"], "relu"), constants={})
    for dim in source.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = SIZE
    for dim in source.graph.output[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = SIZE
    front = pixels.cropped_pixels(pixels.takes_image(source, spec))
    made = run(front, np.asarray(image)[None], "preprocess/cropped")[0].transpose(1, 2, 0)
    difference = np.abs(made - geometry(image, spec).astype(np.float32))
    assert difference.max() <= 2 and difference.mean() < parity.MAX_MEAN_PIXEL


def test_a_model_that_takes_pixels_cannot_take_them_twice(fp32) -> None:
    with pytest.raises(ExportError, match="takes pixels already"):
        pixels.takes_pixels(pixels.takes_pixels(fp32, SPEC), SPEC)

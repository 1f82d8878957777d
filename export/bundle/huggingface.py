"""The files of a bundle that Hugging Face's loaders read: optimum and transformers.js.

    config.json               the classes
    processor_config.json     the preprocessing, as an image processor of transformers 5 and later
    preprocessor_config.json  the same for transformers 4 and transformers.js
    onnx/model.onnx           the fp32 model with its input called "pixel_values";
                              model_quantized.onnx is the int8 one

Both loaders choose their code by ``model_type`` and know no plain "classifier". The code of
"resnet" adds nothing: ``pixel_values`` in, ``logits`` out. The processor is named apart from it;
CLIP's resizes the shorter side, crops the center and standardizes, as ours does.
``image_processor`` lists the differences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from compress.engine.errors import ExportError
from runtime.bundle import INPUT, TWIN_INPUT, TWINS
from runtime.files.onnx import check
from runtime.preprocess import PreprocessSpec

CONFIG = "config.json"
PROCESSOR = "processor_config.json"
PREPROCESSOR = "preprocessor_config.json"
RESAMPLE = {"bicubic": 3, "bilinear": 2}  # PIL.Image.Resampling
LANCZOS = 1


def config(names: Sequence[str], spec: PreprocessSpec) -> dict[str, Any]:
    """config.json of a classifier of ``names``."""
    return {
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "num_channels": 3,
        "image_size": spec.size,
        "num_labels": len(names),
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": "single_label_classification",
    }


def image_processor(spec: PreprocessSpec, resample: int | None = None) -> dict[str, Any]:
    """The image processor of transformers that is nearest to ``spec``.

    Mean and standard deviation are those of bytes, so that a pixel is rounded once, as in
    ``runtime.normalize``; after a rescaling, an int8 model sees every second pixel on the other
    side of a rounding edge.

    It differs from ``runtime.preprocess`` where no setting reaches: an odd number of left-over
    pixels is halved downwards (there: half to even, as torchvision), EXIF orientation is left to
    the caller (transformers.js: ignored), and transparency is dropped (there: put on white).
    """
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": spec.resize},
        "resample": RESAMPLE[spec.interpolation] if resample is None else resample,
        "do_center_crop": True,
        "crop_size": {"height": spec.size, "width": spec.size},
        "do_rescale": False,
        "do_normalize": True,
        "image_mean": [value * 255 for value in spec.mean],
        "image_std": [value * 255 for value in spec.std],
    }


def preprocessor_config(spec: PreprocessSpec) -> dict[str, Any]:
    """preprocessor_config.json: transformers 4 reads "image_processor", transformers.js the rest.

    transformers.js in Node antialiases with Lanczos alone: its "bilinear" and "bicubic" are sharp's
    affine, which takes single pixels of a large photo. Reduced, Lanczos is near Pillow's
    antialiased bicubic; enlarged, sharp moves the image by a part of a pixel, and photos smaller
    than ``resize`` come out worse than with bicubic. Photos are larger as a rule.
    """
    return {**image_processor(spec, LANCZOS), "image_processor": image_processor(spec)}


def documents(names: Sequence[str], spec: PreprocessSpec) -> dict[str, dict[str, Any]]:
    """File name -> content of the JSON files."""
    return {
        CONFIG: config(names, spec),
        PROCESSOR: {"image_processor": image_processor(spec)},
        PREPROCESSOR: preprocessor_config(spec),
    }


def write_twins(folder: Path, models: Mapping[str, Path]) -> dict[str, Path]:
    """Writes renamed copies of the ``models`` (key -> file) that ``TWINS`` names; key -> copy.

    Raises what ``rename_input`` raises.
    """
    written = {key: folder / name for key, name in TWINS.items() if key in models}
    for key, target in written.items():
        target.parent.mkdir(exist_ok=True)
        rename_input(models[key], target)
    return written


def rename_input(source: Path, target: Path, old: str = INPUT, new: str = TWIN_INPUT) -> None:
    """Copies a model with its input ``old`` called ``new`` everywhere in the graph; stable bytes.

    Raises:
        ExportError: no input ``old``, or a value called ``new`` is already there.
        BundleError: a file that reaches outside itself.
    """
    check(source)
    model: ModelProto = onnx.load(str(source), load_external_data=False)
    inputs = [value.name for value in model.graph.input]
    if old not in inputs:
        raise ExportError(f"{source} has no input {old!r}", got=inputs, expected=old)
    if new in _names(model.graph):
        raise ExportError(f"{source} already has a value called {new!r}", expected="a free name")
    _rename(model.graph, old, new)
    target.write_bytes(model.SerializeToString(deterministic=True))


def _rename(graph: GraphProto, old: str, new: str) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.name == old:
            value.name = new
    for annotation in graph.quantization_annotation:
        if annotation.tensor_name == old:
            annotation.tensor_name = new
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
        for inner in _branches(node):
            _rename(inner, old, new)


def _names(graph: GraphProto) -> set[str]:
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    names = {value.name for value in values}
    for node in graph.node:
        names.update(node.input, node.output, *(_names(inner) for inner in _branches(node)))
    return names


def _branches(node: NodeProto) -> list[GraphProto]:
    """The graphs inside a node (If, Loop)."""
    branches = ([a.g] if a.HasField("g") else a.graphs for a in node.attribute)
    return list(chain.from_iterable(branches))

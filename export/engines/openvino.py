"""OpenVINO's IR: the graph in an .xml, the weights in a .bin beside it.

The quantizers of our int8 file become FakeQuantize layers and int8 weights, with the same scales
and zero points. ``fp16`` is the float model with its weights stored in half: the CPU computes it in
float32, GPUs and NPUs in half.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from pathlib import Path

from onnx import ModelProto

from export.engines.converter import refused
from runtime.files import openvino as ir_file


def write(model: ModelProto, file: Path, base: str) -> tuple[Path, ...]:
    """Writes ``model`` as ``file`` (.xml) and its weights; the same model gives the same bytes.

    Raises:
        ModuleNotFoundError: openvino is absent.
        ExportError: it refuses the model.
    """
    import openvino

    content = io.BytesIO(model.SerializeToString(deterministic=True))
    try:
        converted = openvino.convert_model(content)
        openvino.save_model(converted, str(file), compress_to_fp16=base == "fp16")
    except Exception as error:  # its exceptions share no base class of their own
        raise refused(file, error) from error
    _normalize(file)
    ir_file.check(file)
    return file, ir_file.weights(file)


def _normalize(file: Path) -> None:
    """Removes what differs between two conversions: names that count up, versions, options."""
    document = ET.parse(file)
    net = document.getroot()
    net.set("name", "clip2edge")
    for about in net.findall("rt_info"):
        net.remove(about)
    for layer in net.iter("layer"):
        stem, _, number = layer.attrib["name"].rpartition("_")
        counts_up = number.isdigit() and stem[:1].isupper()  # "Reshape_3590"; ours are lower case
        if counts_up or layer.attrib["type"] == "Const":
            layer.set("name", f"{layer.attrib['type']}_at_{layer.attrib['id']}")
    document.write(file, encoding="utf-8", xml_declaration=True)

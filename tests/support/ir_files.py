"""A small OpenVINO model written by hand, and hostile changes of it."""

from __future__ import annotations

from pathlib import Path

IR = """<?xml version="1.0"?>
<net name="small" version="11"><layers>
<layer id="0" name="images" type="Parameter" version="opset1">
<data shape="?,3,8,8" element_type="f32"/><output><port id="0" precision="FP32" names="images">
<dim>-1</dim><dim>3</dim><dim>8</dim><dim>8</dim></port></output></layer>
<layer id="1" name="axes" type="Const" version="opset1">
<data element_type="i64" shape="2" offset="0" size="16"/><output><port id="0" precision="I64">
<dim>2</dim></port></output></layer>
<layer id="2" name="mean" type="ReduceMean" version="opset1"><data keep_dims="false"/><input>
<port id="0" precision="FP32"><dim>-1</dim><dim>3</dim><dim>8</dim><dim>8</dim></port>
<port id="1" precision="I64"><dim>2</dim></port></input><output>
<port id="2" precision="FP32" names="logits"><dim>-1</dim><dim>3</dim></port></output></layer>
<layer id="3" name="result" type="Result" version="opset1"><input>
<port id="0" precision="FP32"><dim>-1</dim><dim>3</dim></port></input></layer>
</layers><edges>
<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
<edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
</edges></net>
"""
WEIGHTS = b"".join(axis.to_bytes(8, "little") for axis in (2, 3))
BOMB = '<!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
#: what is wrong -> the document
HOSTILE_IR = {
    "no file": "",
    "no XML": "weights",
    "another document": "<svg version='11'/>",
    "cut off": IR[:-20],
    "a future version": IR.replace('version="11"', 'version="12"'),
    "entities": IR.replace("<net", f"{BOMB}<net", 1),
    "an extension": IR.replace('ReduceMean" version="opset1', 'Own" version="extension'),
    "a loop": IR.replace('type="ReduceMean"', 'type="TensorIterator"'),
    "a draw": IR.replace('type="ReduceMean"', 'type="RandomUniform"'),
    "no operation set": IR.replace('ReduceMean" version="opset1"', 'ReduceMean"'),
    "weights outside": IR.replace('size="16"', 'size="17"'),
    "negative offset": IR.replace('offset="0"', 'offset="-8"'),
    "endless offset": IR.replace('offset="0"', f'offset="{"9" * 5000}"'),
    "deep": "<net version='11'>" + "<layers>" * 100,
    "an unknown encoding": IR.replace("?>", ' encoding="klingon"?>', 1),
    "no layers": '<net version="11"><layers/></net>',
}


def write_ir(path: Path, text: str = IR, weights: bytes = WEIGHTS) -> Path:
    """The document as ``path`` (.xml), and its weights beside it."""
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".bin").write_bytes(weights)
    return path

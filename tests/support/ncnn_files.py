"""A small ncnn model written by hand, and hostile changes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PARAM = """7767517
4 4
Input        in    0 1 images 0=8 1=8 2=3
Convolution  conv  1 1 images a 0=2 1=3 11=3 4=1 5=1 6=54 9=1
Reduction    mean  1 1 a b 0=3 1=0 -23303=2,1,2 4=0 5=1
InnerProduct head  1 1 b logits 0=4 1=1 2=8
"""
SIZES = (54, 2, 8, 4)  # weights and biases of the convolution, then of the product
#: what is wrong -> the text
HOSTILE_PARAM = {
    "no file": "",
    "another format": "7767518\n" + PARAM.partition("\n")[2],
    "a wrong count of layers": PARAM.replace("4 4", "5 4", 1),
    "a wrong count of blobs": PARAM.replace("4 4", "4 9", 1),
    "a layer of its own": PARAM.replace("Reduction ", "Evil "),
    "a recurrent layer": PARAM.replace("Reduction ", "LSTM "),
    "negative counts": PARAM.replace("conv  1 1", "conv  -1 1"),
    "more blobs than the line": PARAM.replace("conv  1 1", "conv  1 200"),
    "a blob that nobody makes": PARAM.replace("1 1 a b", "1 1 z b"),
    "a blob made twice": PARAM.replace("1 1 a b", "1 1 a images"),
    "fewer weights than the window": PARAM.replace("6=54", "6=53"),
    "weights without end": PARAM.replace("6=54", "6=2147483646"),
    "no outputs": PARAM.replace("0=2 1=3", "0=0 1=3"),
    "a window without end": PARAM.replace("1=3 11=3", "1=60000 11=60000"),
    "groups of nothing": PARAM.replace("9=1", "7=0"),
    "a pad without end": PARAM.replace("4=1", "4=999999"),
    "a parameter out of range": PARAM.replace("9=1", "99999=1"),
    "a parameter twice": PARAM.replace("9=1", "9=1 9=1"),
    "an array of another length": PARAM.replace("=2,1,2", "=9,1,2"),
    "no number": PARAM.replace("9=1", "9=inf"),
    "a product of no size": PARAM.replace("2=8", "2=7"),
    "two inputs": PARAM.replace("4 4", "5 5", 1) + "Input x 0 1 y 0=8 1=8 2=3\n",
    "an image without end": PARAM.replace("0=8 1=8", "0=8 1=99999999"),
    "int8 weights": PARAM.replace("9=1", "8=2"),
    "bytes that are no text": "7767517\n\udcff",
}


def weights() -> bytes:
    """The .bin of ``PARAM``."""
    rng = np.random.default_rng(0)
    conv, bias, head, offset = (rng.normal(size=n).astype("<f4").tobytes() for n in SIZES)
    return bytes(4) + conv + bias + bytes(4) + head + offset


def write_ncnn(path: Path, text: str = PARAM, content: bytes | None = None) -> Path:
    """The text as ``path`` (.param), and weights beside it."""
    path.write_bytes(text.encode("ascii", "surrogateescape"))
    path.with_suffix(".bin").write_bytes(weights() if content is None else content)
    return path

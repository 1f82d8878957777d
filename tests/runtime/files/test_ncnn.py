"""ncnn models from strangers are read or refused with a reason, before the engine sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ncnn_files import HOSTILE_PARAM, PARAM, weights, write_ncnn

from runtime import BundleError
from runtime.files.ncnn import MAX_PARAM_BYTES, check, parse


def test_a_model_is_taken_and_written_as_it_was(tmp_path: Path) -> None:
    param = check(write_ncnn(tmp_path / "m.param"))
    assert (param.inputs, param.outputs, param.size) == (["images"], ["logits"], 8)
    assert parse(param.text()) == param


@pytest.mark.parametrize("what", HOSTILE_PARAM)
def test_what_is_hostile_is_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(
        BundleError, match=r"m\.param is not an ncnn model|m\.bin is not the weights"
    ):
        check(write_ncnn(tmp_path / "m.param", HOSTILE_PARAM[what]))


@pytest.mark.parametrize(
    "content", [b"", weights()[:-1], weights() + b"x", b"\1" + weights()[1:], bytes(8) + weights()]
)
def test_the_weights_are_those_that_the_layers_read(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BundleError, match=r"m\.bin is not the weights of m\.param"):
        check(write_ncnn(tmp_path / "m.param", content=content))


def test_absent_weights_and_an_endless_text_are_refused(tmp_path: Path) -> None:
    file = write_ncnn(tmp_path / "m.param")
    file.with_suffix(".bin").unlink()
    with pytest.raises(BundleError, match=r"cannot read .*m\.bin"):
        check(file)
    with pytest.raises(BundleError, match="too large"):
        check(write_ncnn(tmp_path / "n.param", PARAM + " " * MAX_PARAM_BYTES))

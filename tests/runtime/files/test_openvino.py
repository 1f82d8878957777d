"""OpenVINO models from strangers are read or refused with a reason, before the engine sees them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ir_files import HOSTILE_IR, IR, write_ir

from runtime import BundleError
from runtime.files.openvino import MAX_XML_BYTES, check


def test_a_model_is_taken(tmp_path: Path) -> None:
    check(write_ir(tmp_path / "m.xml"))


@pytest.mark.parametrize("what", HOSTILE_IR)
def test_what_is_hostile_is_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(BundleError, match=r"m\.xml"):
        check(write_ir(tmp_path / "m.xml", HOSTILE_IR[what]))


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="may define entities"):
        check(write_ir(tmp_path / "m.xml", HOSTILE_IR["entities"]))


def test_absent_or_short_weights_are_refused(tmp_path: Path) -> None:
    file = write_ir(tmp_path / "m.xml", weights=b"")
    with pytest.raises(BundleError, match="0 bytes of weights"):
        check(file)
    file.with_suffix(".bin").unlink()
    with pytest.raises(BundleError, match=r"cannot read .*m\.bin"):
        check(file)


def test_no_pipe_is_waited_for_and_no_endless_document_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.xml")
    with pytest.raises(BundleError, match="not a regular file"):
        check(tmp_path / "m.xml")
    (tmp_path / "n.xml").write_text(IR + " " * MAX_XML_BYTES)
    with pytest.raises(BundleError, match="too large"):
        check(tmp_path / "n.xml")

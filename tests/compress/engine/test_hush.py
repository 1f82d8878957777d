"""Libraries that warn about each other do not reach a user, whose loggers stay as they are."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from compress.engine.hush import LOGGERS, hushed


def test_levels_are_restored_whatever_happens() -> None:
    before = [logging.getLogger(name).level for name in LOGGERS]
    with pytest.raises(ValueError, match="stop"), hushed():
        assert all(logging.getLogger(name).level == logging.ERROR for name in LOGGERS)
        raise ValueError("stop")
    assert [logging.getLogger(name).level for name in LOGGERS] == before


def test_the_libraries_of_a_build_say_nothing_to_a_program() -> None:
    program = (
        "from compress.engine.hush import hushed\n"
        "with hushed():\n"
        "    import torchao.quantization.pt2e.quantize_pt2e\n"
        "    import diffusers.quantizers\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout + ended.stderr == ""

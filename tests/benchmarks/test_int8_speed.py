"""Files for the race of int8 against fp32."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.int8_speed import make_files


def test_options_reach_timm(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        make_files("test_vit", tmp_path, no_such_option=1)

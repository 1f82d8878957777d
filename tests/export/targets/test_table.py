from __future__ import annotations

import subprocess
import sys

import pytest
from paths import ROOT

from compress.engine.errors import ExportError
from export.targets import table


def test_names_are_read_in_any_order_and_written_in_one() -> None:
    assert table.parse("int8.ort.batch1.u8in").key == "int8.u8in.batch1.ort"
    assert table.parse("int8.ort.batch1.u8in").file == "model.int8.u8in.batch1.ort"
    assert table.parse("int8.trt.batch1").base == "int8.trt"
    assert table.parse("fp16", opset=19, ir=9).key == "fp16.opset19.ir9"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fp61", "did you mean 'fp16'"),
        ("int8", "in the bundle already"),
        ("int8.u8", "did you mean 'u8in'"),
        ("int8.u8in.image", "image with u8in"),
        ("fp32.batch1.batch1", "batch1 with batch1"),
        ("fp32.opset", "unknown modifier"),
        ("fp32.", "unknown modifier"),
        ("../fp32", "unknown export target"),
        ("", "unknown export target"),
        ("fp32.ort5", "unknown modifier"),
    ],
)
def test_names_that_mean_nothing_are_refused(name: str, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        table.parse(name)


def test_every_base_and_modifier_has_an_example() -> None:
    targets = [table.parse(name) for name in table.EXAMPLES]
    assert [target.key for target in targets] == list(table.EXAMPLES)
    shown = {name for target in targets for name, _ in target.modifiers}
    assert shown == set(table.MODIFIERS)
    assert {target.base for target in targets} == set(table.BASES) - {"int8.trt"}


def test_the_table_is_read_without_onnxruntime() -> None:
    code = "import sys, export.targets.table; sys.exit('onnxruntime' in sys.modules)"
    root = ROOT
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0

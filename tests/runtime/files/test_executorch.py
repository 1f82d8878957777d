"""ExecuTorch programs are read, or refused with a reason, before the engine sees them.

``tests/data/executorch`` holds what ``export.engines.executorch.write`` makes of ``tiny_bundles``'
models with features.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from paths import ROOT

from runtime import BundleError
from runtime.backends import BACKENDS
from runtime.files import executorch
from runtime.files.executorch import check

FILES = ROOT / "tests" / "data" / "executorch"


def test_the_types_of_its_products_prove_int8() -> None:
    row = BACKENDS["executorch"]
    integer, floating = (check(FILES / f"tiny.{name}.pte") for name in ("int8", "fp32"))
    assert integer == {"Conv2d int8": 2, "FullyConnected int8": 1, "aten::sum": 1}
    assert floating == {"Conv2d float32": 2, "FullyConnected float32": 1, "aten::sum": 1}
    assert row.is_quantized(integer) and not row.is_quantized(floating)


@pytest.mark.parametrize("content", [b"", b"no program", b"\x08\0\0\0ET12", b"PK\3\4" + bytes(60)])
def test_what_is_no_program_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pte").write_bytes(content)
    with pytest.raises(BundleError, match="not an ExecuTorch program"):
        check(tmp_path / "m.pte")


def test_a_cut_program_is_refused(tmp_path: Path) -> None:
    whole = (FILES / "tiny.int8.pte").read_bytes()
    for length in (20, 400, 2000, 4000):
        (tmp_path / "m.pte").write_bytes(whole[:length])
        with pytest.raises(BundleError, match="not an ExecuTorch program"):
            check(tmp_path / "m.pte")


@pytest.mark.parametrize(
    ("honest", "hostile", "words"),
    [
        (b"XnnpackBackend", b"OpenvinoBackXX", "delegate OpenvinoBackXX"),
        (b"aten::sum", b"evil::run", "operator evil::run"),
    ],
)
def test_other_delegates_and_operators_are_refused(
    tmp_path: Path, honest: bytes, hostile: bytes, words: str
) -> None:
    content = (FILES / "tiny.int8.pte").read_bytes()
    assert honest in content and len(honest) == len(hostile)
    (tmp_path / "m.pte").write_bytes(content.replace(honest, hostile))
    with pytest.raises(BundleError, match=f"no classifier needs.*{words}"):
        check(tmp_path / "m.pte")


def test_a_jump_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executorch, "JUMP", executorch.KERNEL_CALL)
    with pytest.raises(BundleError, match="a jump"):
        check(FILES / "tiny.fp32.pte")

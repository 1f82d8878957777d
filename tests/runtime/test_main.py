"""``python -m runtime classify`` and ``verify``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_bundles import encoded, photo

from runtime.__main__ import main


@pytest.fixture
def image(tmp_path: Path) -> str:
    (tmp_path / "a.png").write_bytes(encoded(photo()))
    return str(tmp_path / "a.png")


def test_classify_prints_the_likeliest_labels(
    bundle: Path, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", str(bundle), image, "--top-k", "2", "--threads", "1"]) == 0
    assert capsys.readouterr().out.count("%") == 2
    assert main(["classify", str(bundle), image, "--json", "--threads", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)[image]) == 4


def test_verify_accepts_a_bundle_as_built(bundle: Path) -> None:
    assert main(["verify", str(bundle), "--threads", "1"]) == 0


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", str(tmp_path), "x.png"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1

"""Many images, some of them bad, and labels of every script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from odd_models import change, reseal, times
from PIL import Image
from tiny_bundles import encoded, photo, with_confidence

from runtime.__main__ import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.png", "b.png", "new\nline.png", os.fsdecode(b"\xff.png")):
        (tmp_path / name).write_bytes(encoded(photo()))
    (tmp_path / "bad.jpg").write_text("x", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("bad", ["bad.jpg", "gone.png", "*.gif", "folder"])
def test_one_bad_image_takes_no_other_answer(
    bundle: Path, folder: Path, bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", str(bundle), "a.png", bad, "b.png", "a.png"]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("%") == 8 and bad in shown.err and shown.err.count("\n") == 1
    assert main(["classify", str(bundle), "--json", "a.png", bad, "b.png"]) == 1
    table = json.loads(capsys.readouterr().out)
    assert list(table) == ["a.png", bad, "b.png"] and bad in table[bad]["error"]
    assert main(["classify", str(bundle), bad]) == 2


def test_a_folder_stands_for_the_images_below(
    bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = folder / "photos"
    for name in ("b/2.png", "a.png", "b/10.PNG", ".hidden/x.png", "b/.x.png", "thumbnails/a.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(encoded(photo()))
    (photos / "b" / "no suffix").write_bytes(encoded(photo(), "JPEG"))
    for sidecar in ("a.txt", "a.json", "b/labels.csv", "Thumbs.db"):
        (photos / sidecar).write_text("rose, 1", encoding="utf-8")
    (photos / "b" / "loop").symlink_to(photos)
    assert main(["classify", str(bundle), "--json", "photos", "a.png", "photos/a.png"]) == 0
    names = ["photos/a.png", "photos/b/10.PNG", "photos/b/2.png", "photos/b/no suffix", "a.png"]
    assert list(json.loads(capsys.readouterr().out)) == names
    (photos / "b" / "bad.jpg").write_text("x", encoding="utf-8")
    assert main(["classify", str(bundle), "photos", "--top-k", "1"]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("%") == 4 and "photos/b/bad.jpg" in shown.err


def test_a_folder_without_an_image_has_no_answer(
    bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "folder" / "notes.txt").write_text("nothing to see", encoding="utf-8")
    assert main(["classify", str(bundle), "folder"]) == 2
    assert capsys.readouterr().err.startswith("error: folder holds no image")


@pytest.mark.parametrize("content, why", [("", "it is empty"), ("<html>404", "it is a web page")])
def test_what_a_bad_file_is_instead_is_told(
    bundle: Path, folder: Path, content: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.jpg").write_text(content, encoding="utf-8")
    assert main(["classify", str(bundle), "--json", "bad.jpg", "a.png"]) == 1
    shown = capsys.readouterr()
    assert why in shown.err and why in json.loads(shown.out)["bad.jpg"]["error"]


def test_a_line_of_json_for_each_image(
    bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", str(bundle), "--jsonl", "new\nline.png", "bad.jpg", "gone.png"]) == 1
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [row["image"] for row in rows] == ["new\nline.png", "bad.jpg", "gone.png"]
    assert len(rows[0]["labels"]) == 4 and "error" not in rows[0]
    assert "bad.jpg" in rows[1]["error"] and "labels" not in rows[1]
    assert shown.err.splitlines()[-1] == "2 of 3 have no answer"


def test_names_of_any_bytes_are_shown(
    bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["new\nline.png", os.fsdecode(b"\xff.png"), "no\nsuch"]
    assert main(["classify", str(bundle), *names]) == 1
    shown = capsys.readouterr()
    assert "new\\nline.png\n" in shown.out and "\\xff.png\n" in shown.out
    assert shown.err.count("\n") == 1
    assert main(["classify", str(bundle), "--json", *names]) == 1
    assert set(json.loads(capsys.readouterr().out)) == {"new\nline.png", "\\xff.png", "no\nsuch"}


def test_names_that_would_look_alike_are_told_apart(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A byte and its escape as letters, a line break and its escape, U+0085 and the byte 0x85."""
    names = [b"\\xff.png", b"\xff.png", b"\\\xff.png", b"\\n.png", b"\n.png", b"\\a.png"]
    names += [b"\xc2\x85.png", b"\x85.png", b"\\u0085.png", b"\\\\xff.png"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(encoded(photo()))
    assert main(["classify", str(bundle), str(tmp_path), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert len(table) == len(names) and str(tmp_path / "\\a.png") in table
    assert main(["classify", str(bundle), str(tmp_path), "--jsonl"]) == 0
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [row["image"] for row in rows] == list(table)
    assert main(["classify", str(bundle), str(tmp_path), "--top-k", "1"]) == 0
    told = [row for row in capsys.readouterr().out.splitlines() if row.endswith(".png")]
    assert len(set(told)) == len(names)
    for name in names[:2]:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    two = [str(tmp_path / os.fsdecode(name)) for name in names[:2]]
    assert main(["classify", str(bundle), *two, str(tmp_path / "\\a.png")]) == 1
    assert "2 of 3 have no answer" in capsys.readouterr().err


def test_an_answer_of_nan_is_an_error_entry(
    bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = shutil.copytree(bundle, folder / "broken")
    change(broken, ("model.int8.onnx",), times(np.nan))
    assert main(["classify", str(broken), "--json", "a.png"]) == 2
    table = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert "not finite" in table["a.png"]["error"]


def test_labels_that_the_terminal_lacks_are_substituted(bundle: Path, folder: Path) -> None:
    own = shutil.copytree(bundle, folder / "own")
    rows = [{"name": name} for name in ("花", "ﬂower", "é", "☃")]
    (own / "labels.json").write_text(json.dumps(rows), encoding="utf-8")
    reseal(own)
    command = [sys.executable, "-m", "runtime", "classify", str(own), str(folder / "a.png")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=root, timeout=60)
    assert done.returncode == 0 and b"\\u82b1" in done.stdout and done.stdout.isascii()


def test_an_image_of_no_class_is_not_named_boldly(
    bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, line in (("never", -1e9), ("always", 1e9)):
        row = {"threshold": line, "scales": {}}
        told = {"rejection": {"score": "energy", "keep": 0.95, "models": {"fp32": row}}}
        with_confidence(bundle, folder / name, told)
    assert main(["classify", "always", "a.png", "--reject", "--top-k", "2"]) == 0
    name, unsure, *guesses = capsys.readouterr().out.splitlines()
    assert (name, unsure) == ("a.png", "  not sure") and len(guesses) == 2
    assert all(line.startswith("  (") and line.endswith(")") and "%" in line for line in guesses)
    for arguments in (["never", "a.png", "--reject"], ["always", "a.png"]):
        assert main(["classify", *arguments]) == 0
        shown = capsys.readouterr().out
        assert "not sure" not in shown and "(" not in shown
    assert main(["classify", "always", "a.png", "--reject", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["a.png"]
    assert [guess["known"] for guess in answer] == [False] * len(answer)
    assert main(["classify", str(bundle), "a.png", "--reject"]) == 2
    assert "does not tell whether an image shows one of its classes" in capsys.readouterr().err


def test_names_that_turn_the_line_around_are_written_out(
    bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "a.png", folder / "\u202egnp.exe.png")
    assert main(["classify", str(bundle), "\u202egnp.exe.png"]) == 0
    shown = capsys.readouterr().out
    assert "\u202e" not in shown and "\\u202egnp.exe.png" in shown


def test_an_image_among_many_is_named_whatever_is_wrong(
    bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = folder / "photos"
    photos.mkdir()
    Image.fromarray(np.full((9, 9), 0.5, np.float32)).save(photos / "float.tiff")
    Image.fromarray(np.full((9, 9), 70_000, np.int32)).save(photos / "wide.tiff")
    assert main(["classify", str(bundle), "photos"]) == 2
    told = capsys.readouterr().err
    assert "photos/float.tiff has floating-point pixels" in told
    assert "photos/wide.tiff has integer pixels out of range · got values 70000..70000" in told

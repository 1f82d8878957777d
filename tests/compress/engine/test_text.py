"""Text that people wrote, in the encodings of their editors."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compress.engine import text
from compress.engine.errors import BudgetError, ConfigError
from compress.engine.text import MAX_BYTES, decode_text, read_object, read_text, shortened

NAMES = "Blüte\r\nrote\u00a0Rose\r\nété à “Öland” – McDonald’s\r\n"
READ = "Blüte\nrote Rose\nété à “Öland” – McDonald’s\n"


@pytest.mark.parametrize(
    "data",
    [
        NAMES.encode(),
        NAMES.encode("utf-8-sig"),
        NAMES.encode("utf-16"),
        codecs.BOM_UTF16_BE + NAMES.encode("utf-16-be"),
        NAMES.encode("utf-32"),
        NAMES.encode("cp1252"),
        NAMES.replace("\r\n", "\r").encode(),
    ],
)
def test_what_notepad_and_excel_save(data: bytes) -> None:
    assert decode_text(data, "names.txt") == READ


def test_the_western_code_page_is_told(caplog: pytest.LogCaptureFixture) -> None:
    decode_text(NAMES.encode(), "western.txt")
    assert not caplog.records
    decode_text(NAMES.encode("cp1252"), "western.txt")
    decode_text(NAMES.encode("cp1252"), "western.txt")
    (told,) = caplog.messages
    assert "western.txt is no UTF-8; read as Windows-1252, e.g. 'Blüte'" in told


@pytest.mark.parametrize(
    "data, where",
    [
        ("oak\nроза\n".encode("cp1251"), "in line 2"),
        ("薔薇\n".encode("shift-jis"), "in line 1"),
        ("玫瑰\n".encode("gbk"), "in line 1"),
        ("oak\n\nBlüte\n".encode("mac-roman"), "in line 3"),
        ("ばら\n".encode("shift-jis"), "in line 1"),
        ("草\n牡丹\n".encode("gbk"), "in line 1"),
        ("τριαντάφυλλο\n".encode("cp1253"), "in line 1"),
        ("oak\nBlüte\n".encode("utf-16-le"), "in line 2"),
        ("oak\n".encode("utf-16-le"), "line 1"),
        (b"oak\nro\0se\n", "line 2"),
        (codecs.BOM_UTF16_LE + b"o", "in line 1"),
    ],
)
def test_what_would_be_a_guess_names_the_place_and_the_remedy(data: bytes, where: str) -> None:
    with pytest.raises(ConfigError, match=f"names.txt .*{where}.*save it as UTF-8"):
        decode_text(data, "names.txt")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="none.yaml cannot be read.*No such file"):
        read_text(tmp_path / "none.yaml", BudgetError)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_text(tmp_path)
    with (tmp_path / "video.mp4").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="is no list or settings"):
        read_text(tmp_path / "video.mp4")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "names.txt").write_text("rose", encoding="utf-8")
    assert read_text(Path("~/names.txt")) == "rose"


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, "\0", "{'a': 1}"])
def test_a_file_that_holds_no_object_is_one_clear_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "model_index.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="model_index.json"):
        read_object(file)


def test_an_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1]}')
    assert read_object(tmp_path / "a.json") == {"a": [1]}


def test_a_pipe_is_read_if_somebody_writes_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(text, "PIPE_S", 0.1)
    with pytest.raises(ConfigError, match="a pipe that nothing is written to"):
        read_text(tmp_path / "pipe")
    monkeypatch.setattr(text, "PIPE_S", 30.0)
    command = [sys.executable, "-c", f"open({str(tmp_path / 'pipe')!r}, 'w').write('seed: 1')"]
    with subprocess.Popen(command):
        assert read_text(tmp_path / "pipe") == "seed: 1"


def test_a_long_message_ends_between_words() -> None:
    assert shortened("one  two\nthree", 13) == "one two three"
    assert shortened("one two three four", 11) == "one two …"

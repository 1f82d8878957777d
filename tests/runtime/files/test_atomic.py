"""What stands at the place of an output stays what it is."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.files.atomic import atomic, is_temporary, require_target


def write(path: Path, text: str = "new") -> None:
    require_target(path)
    with atomic(path) as whole:
        whole.write_text(text)


@pytest.mark.parametrize("chain", [1, 3])
def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path, chain: int) -> None:
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "real"
    target.write_text("old")
    previous = Path("far/real")
    for index in range(chain):
        (tmp_path / f"link{index}").symlink_to(previous)
        previous = Path(f"link{index}")
    write(tmp_path / previous)
    assert (tmp_path / previous).is_symlink() and target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["real"]


def test_a_link_to_a_new_file_makes_that_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_a_character_device_takes_the_bytes_and_stays(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    device = Path(os.ttyname(theirs))
    (tmp_path / "link").symlink_to(device)
    write(device, "one")
    write(tmp_path / "link", "two")
    assert os.read(ours, 3) + os.read(ours, 3) == b"onetwo"
    assert device.is_char_device() and (tmp_path / "link").is_symlink()
    assert list(tmp_path.iterdir()) == [tmp_path / "link"]
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("redirected", ["pipe", "file"])
def test_the_own_output_is_written_to_in_order(tmp_path: Path, redirected: str) -> None:
    code = (
        "from pathlib import Path; from runtime.files.atomic import atomic, require_target\n"
        "print('before', flush=True)\n"
        "require_target(Path('/dev/stdout'))\n"
        "with atomic(Path('/dev/stdout')) as whole: whole.write_text('whole\\n')\n"
        "print('after')"
    )
    out = tmp_path / "out"
    if redirected == "pipe":
        text = subprocess.check_output([sys.executable, "-c", code], text=True)
    else:
        with out.open("w") as file:
            subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
        text = out.read_text()
    assert text == "before\nwhole\nafter\n"


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "loop", "no folder"])
def test_what_takes_no_file_is_refused_before_anything_is_written(
    tmp_path: Path, kind: str
) -> None:
    place = tmp_path / "place"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
    elif kind == "folder":
        place.mkdir()
    elif kind == "loop":
        place.symlink_to(place)
    else:
        place = place / "absent" / "file"
    before = sorted(tmp_path.rglob("*"))
    mode = os.lstat(place).st_mode if os.path.lexists(place) else None
    with pytest.raises(OSError):
        require_target(place)
    with pytest.raises(OSError), atomic(place) as whole:
        whole.write_text("new")
    assert sorted(tmp_path.rglob("*")) == before
    assert mode == (os.lstat(place).st_mode if os.path.lexists(place) else None)


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "private"
    file.write_text("old")
    file.chmod(0o600)
    write(file)
    assert file.read_text() == "new" and file.stat().st_mode & 0o777 == 0o600


def test_an_exception_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic(file) as whole:
        whole.write_text("half")
        raise ZeroDivisionError
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_only_its_own_names_count_as_temporary(tmp_path: Path) -> None:
    with atomic(tmp_path / "model.onnx") as whole:
        assert is_temporary(whole.name)
        whole.touch()
    with atomic(tmp_path / ("m" * 240)) as whole:
        assert is_temporary(whole.name)
        whole.touch()
    assert not any(map(is_temporary, (".notes.tmp", ".env", "a.1.2.tmp", ".gitignore", "model")))

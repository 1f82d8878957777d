"""``python -m runtime classify`` and ``verify``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tiny_bundles import encoded, photo

from runtime.__main__ import main
from runtime.commands import terminal


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


def stopped(number: int, *arguments: str) -> tuple[int, str]:
    """Exit code and last line of a command that gets a signal when it starts to work."""
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "signal.signal(signal.SIGHUP, signal.SIG_DFL); "  # these tests may run under nohup
    code += "from runtime.__main__ import main; import sys; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None and child.stderr.readline()
        child.send_signal(number)
        try:
            _, stderr = child.communicate(timeout=60)
        finally:
            child.kill()
    return child.returncode, stderr.decode().splitlines()[-1]


def test_a_stopped_command_says_so_in_one_line(bundle: Path) -> None:
    ends = {2: (130, "interrupted"), 15: (143, "terminated"), 1: (129, "the terminal is gone")}
    for number, ended in ends.items():
        assert stopped(number, "bench", str(bundle), "--seconds", "30") == ended


@pytest.mark.parametrize("program", ["runtime", "compress"])
def test_a_current_folder_that_is_gone_is_told(tmp_path: Path, program: str) -> None:
    (tmp_path / "gone").mkdir()
    leave = "import os; os.chdir('gone'); os.rmdir(os.getcwd())"
    run = f"{leave}; import runpy; runpy.run_module({program!r}, run_name='__main__')"
    command = [sys.executable, "-P", "-c", run, "bench" if program == "runtime" else "show"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "the current folder is gone" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["new\nline", "\n  x", "a\rb", "\x1b[31m", "\u2028"])
@pytest.mark.parametrize("program", ["runtime", "compress"])
def test_a_name_that_breaks_lines_breaks_no_error(tmp_path: Path, name: str, program: str) -> None:
    words = ["classify", name, "x.png"] if program == "runtime" else ["estimate", name]
    command = [sys.executable, "-m", program, *words]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    said = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == 2 and "Traceback" not in said
    assert len(ended.stderr.decode().splitlines()) == 1 and name not in said


def test_a_stop_that_a_library_swallows_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "AGAIN_S", 1)
    with pytest.raises(terminal.Stopped), terminal.stoppable():
        with suppress(terminal.Stopped):
            os.kill(os.getpid(), 15)
            time.sleep(10)
        time.sleep(10)


def test_an_error_of_the_system_is_one_line(
    bundle: Path, image: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (OSError(28, "No space left on device"), MemoryError(), PermissionError(13, "x")):

        def fail(*arguments: object, error: BaseException = error, **options: object) -> None:
            raise error

        monkeypatch.setattr("runtime.commands.classify.Classifier.load", fail)
        monkeypatch.setattr("runtime.__main__.drop_output", lambda: None)
        assert main(["classify", str(bundle), image]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_full_disk_behind_stdout_is_one_line(bundle: Path, image: str) -> None:
    command = [sys.executable, "-m", "runtime", "classify", str(bundle), image]
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and b"disk is full" in done.stderr

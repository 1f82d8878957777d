"""What ``compress doctor`` reports about the build."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from findings import by_name, pretend
from paths import ROOT
from typer.testing import CliRunner

from compress.cli import doctor
from compress.cli.app import app
from runtime.commands.findings import MISSING, NOTE, OK, PARTLY, works


def test_compress_doctor_says_that_this_machine_builds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLIP2EDGE_WORK", str(tmp_path))
    monkeypatch.setattr(doctor, "ask_hub", lambda: False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    assert (
        "This machine builds students." in done.output
        and f"torch {metadata.version('torch')}" in done.output
    )
    assert "partly   model hub" in done.output
    assert done.output.splitlines()[-1].startswith("Next: compress build --d")
    made = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)
    assert made["can"] == {"run": True, "measure": True, "build": True, "apps": True}


@pytest.mark.parametrize(
    ("name", "state", "remedy", "command"),
    [
        ("torch", MISSING, "pip install 'clip2edge[build]'", "pip install 'clip2edge[build]'"),
        ("torch", MISSING, None, doctor.INSTALL),
        ("memory", PARTLY, "close other programs", "compress build --dataset petals --shots 4"),
        ("disk (work)", PARTLY, None, "compress build --dataset petals --shots 4"),
        ("GPU", OK, None, "compress build --data photos/ --shots 8 --device cuda"),
        ("GPU", NOTE, None, "compress build --data photos/ --shots 8 "),
    ],
)
def test_the_next_command_fits_the_machine(
    name: str, state: str, remedy: str | None, command: str
) -> None:
    finding = doctor.build_finding(name, state, "", remedy, needed=state == MISSING)
    assert doctor.next_command([finding]).startswith(command)


def test_the_extra_is_read_from_the_package_itself() -> None:
    wanted = dict(doctor.requirements())
    assert wanted["torch"] and "onnx" in wanted and "ruff" not in wanted and "numpy" not in wanted


@pytest.mark.parametrize(("version", "words"), [(None, "not installed"), ("2.1.0", "2.1.0, ")])
def test_a_missing_or_old_package_forbids_building(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str | None, words: str
) -> None:
    monkeypatch.setenv("CLIP2EDGE_WORK", str(tmp_path))
    pretend(monkeypatch, {"torch": version})
    found = doctor.findings(hub=lambda: True)
    torch = by_name(found, "build")["torch"]
    assert (
        torch.state == MISSING
        and words in torch.detail
        and torch.remedy == "pip install 'clip2edge[build]'"
    )
    assert doctor.doctor(find=lambda: found) == 1


def test_the_hub_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(doctor, "HUB_SECONDS", 0.05)
    start = time.monotonic()
    found = doctor.hub_finding(doctor.Answer(lambda: bool(time.sleep(5)) or True))
    assert time.monotonic() - start < 4
    assert found.state == PARTLY and "--teacher PATH" in (found.remedy or "")
    assert doctor.hub_finding(doctor.Answer(lambda: True)).state in (OK, PARTLY)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert doctor.hub_finding(doctor.Answer(lambda: True)).state == NOTE


def test_a_missing_program_is_named_with_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    found = by_name(doctor.tool_findings())
    assert found["cmake"].state == MISSING and found["cmake"].remedy == "sudo apt install cmake"
    assert works(found.values(), "apps")


def test_a_work_folder_that_cannot_be_written_forbids_building(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLIP2EDGE_WORK", str(tmp_path / "file"))
    found = by_name(doctor.findings(hub=lambda: True), "build")
    assert found["work folder"].state == MISSING and "CLIP2EDGE_WORK" in (
        found["work folder"].remedy or ""
    )


def test_doctor_works_where_nothing_but_the_base_is_installed(tmp_path: Path) -> None:
    blocked = [
        "typer",
        "rich",
        "torch",
        "yaml",
        "onnx",
        "timm",
        "jinja2",
        "scipy",
        "huggingface_hub",
        "transformers",
    ]
    code = f"""
import sys
for name in {blocked!r}:
    sys.modules[name] = None
from importlib import metadata
real = metadata.version
def version(name):
    if name.lower() in {blocked!r}:
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.version = version
sys.argv = ["compress", "doctor"]
from compress.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "HF_HUB_OFFLINE": "1",
            "CLIP2EDGE_WORK": str(tmp_path),
            "HOME": str(tmp_path),
        },
    )
    assert done.returncode == 1, done.stderr
    assert "missing  torch" in done.stdout and "This machine runs bundles." in done.stdout
    assert "Traceback" not in done.stderr


def test_neither_doctor_imports_torch() -> None:
    for code in (
        "from runtime.__main__ import main; main(['doctor'])",
        "from compress.cli.doctor import doctor; doctor()",
    ):
        script = (
            f"import sys\n{code}\nprint('LOADED', 'torch' in sys.modules, 'pydantic' in "
            "sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"},
        )
        assert done.stdout.splitlines()[-1] == "LOADED False False"

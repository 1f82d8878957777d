"""What ``doctor`` says of this machine, of recorded ones, and of broken ones."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from findings import pretend
from paths import ROOT

from runtime.__main__ import main
from runtime.backends import BACKENDS
from runtime.commands import findings
from runtime.commands.doctor import lines
from runtime.commands.findings import MISSING, NOTE, Finding, device_findings
from runtime.host.support import MATRIX


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_this_machine_runs_bundles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith("This machine runs bundles.")
    assert all(len(line) <= 80 for line in out.splitlines())
    assert f"onnxruntime      {metadata.version('onnxruntime')}" in out


def test_json_has_the_same_findings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["schema"], made["kind"]) == (1, "clip2edge-doctor")
    assert made["can"] == {"run": True, "measure": True}
    assert {row["name"] for row in made["support"]} == {row.name for row in MATRIX}
    assert {"group", "name", "state", "detail", "remedy", "needed"} == set(made["findings"][0])


def test_without_an_engine_no_bundle_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, {package: None for row in BACKENDS.values() for package in row.packages})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "-> pip install 'clip2edge[ort]'" in out
    assert out.rstrip().endswith("This machine cannot yet: runs bundles. See 'missing' above.")


def test_every_engine_is_listed_with_its_version_or_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, {"openvino": None})
    (absent,) = [found for found in device_findings() if found.name == "openvino"]
    assert (absent.state, absent.remedy) == (NOTE, "pip install 'clip2edge[openvino]'")
    assert {name.lower() for name in BACKENDS} <= {row.name.lower() for row in device_findings()}
    pretend(monkeypatch, {"openvino": "2026.4.1"})
    monkeypatch.setattr("runtime.commands.findings.find_spec", lambda name: object())
    found = findings._engine("openvino")
    assert (found.state, found.detail) == ("ok", "2026.4.1")


def test_long_details_wrap_and_commands_stay_whole() -> None:
    command = "pip install " + "x" * 70
    out = lines(
        [Finding("run", "thing", MISSING, "word " * 40, command)], [("run", "Run")], matrix=False
    )
    assert out[0] == "Run" and all(len(line) <= 80 for line in out if "xxx" not in line)
    assert "x" * 70 in "\n".join(out)


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    command = f"{sys.executable} -m runtime doctor | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""


def test_a_long_name_does_not_touch_what_is_said_of_it() -> None:
    names = ("open_clip_torch", "a-distribution-of-a-longer-name")
    found = [Finding("build", each, MISSING, "not installed") for each in names]
    for line, name in zip(lines(found, [("build", "Build")], matrix=False)[1:], names, strict=True):
        assert f"{name} " in line and line.rstrip().endswith("not installed")

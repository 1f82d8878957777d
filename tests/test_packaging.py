"""What is installed where: the wheel's content, and what a device needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import tomllib
from paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PRODUCT = {"compress", "export", "runtime"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy so that nothing is left behind in it."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
    for package in (*PRODUCT, "benchmarks"):
        shutil.copytree(ROOT / package, source / package, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(out), "."]
    subprocess.run(command, cwd=source, check=True)
    return next(out.glob("*.whl"))


def test_a_device_needs_numpy_and_pillow() -> None:
    names = {requirement.partition(">")[0] for requirement in PROJECT["dependencies"]}
    assert names == {"numpy", "pillow"}


@pytest.mark.slow
def test_the_wheel_holds_the_product_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == PRODUCT
    assert not [name for name in names if "train_clip" in name or "/test_" in name]
    assert {f"{package}/py.typed" for package in PRODUCT} <= set(names)
    data = ["compress/presets/edge.yaml", "compress/papers/sasaki.yaml", "compress/search/zoo.yaml"]
    assert set(data) <= set(names)
    tracked = subprocess.run(
        ["git", "ls-files", *PRODUCT], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    assert set(tracked) <= set(names), "a file of the tree is not in the wheel"


@pytest.mark.slow
def test_the_device_install_brings_numpy_pillow_and_onnxruntime(
    wheel: Path, smoke: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "device", with_pip=True)
    python = str(tmp_path / "device" / "bin" / "python")
    requirement = f"clip2edge[ort] @ {wheel.as_uri()}"
    constraints = str(ROOT / "constraints.txt")
    install = [python, "-m", "pip", "install", "--quiet", "-c", constraints, requirement]
    subprocess.run(install, check=True)
    listed = [python, "-m", "pip", "list", "--format=json"]
    done = subprocess.run(listed, capture_output=True, text=True, check=True)
    names = {row["name"].lower() for row in json.loads(done.stdout)} - {"pip", "setuptools"}
    needs = {"onnxruntime", "flatbuffers", "packaging", "protobuf"}
    assert names <= {"clip2edge", "numpy", "pillow"} | needs, names
    run = [python, "-m", "runtime", "verify", str(smoke / "bundle")]
    verified = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    build = subprocess.run(
        [python, "-m", "compress", "build"], cwd=tmp_path, capture_output=True, text=True
    )
    assert build.returncode == 2 and "pip install 'clip2edge[build]'" in build.stderr

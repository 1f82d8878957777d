"""The oldest onnxruntime that is promised runs a bundle; an older one says why it does not."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import onnxruntime
import pytest
from tiny_bundles import encoded, photo

from compress.engine.config.settings import ExportSettings
from runtime import BackendError
from runtime.backends.onnxruntime import MIN_VERSION, NEEDED, import_onnxruntime

ROOT = Path(__file__).parents[3]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    python = os.environ.get("CLIP2EDGE_OLDEST_PYTHON")
    if python is None:
        pytest.skip("no environment with the oldest onnxruntime: tests/oldest/prepare.sh makes one")
    command = [python, "-m", "runtime", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment, cwd=ROOT
    )


def test_the_oldest_one_runs_every_model(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo()))
    done = run("verify", bundle, "--threads", "1")
    assert done.returncode == 0 and "skipped" not in done.stdout, done.stdout + done.stderr
    assert run("classify", bundle, tmp_path / "a.png").stdout.count("%") == 4


def test_the_promise_is_written_once() -> None:
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert f'ort = ["{NEEDED}"]' in extras
    assert f'ort-gpu = ["{NEEDED.replace("onnxruntime", "onnxruntime-gpu")}"]' in extras
    prepared = (ROOT / "tests/oldest/prepare.sh").read_text(encoding="utf-8")
    assert f"onnxruntime=={'.'.join(map(str, MIN_VERSION))}.0" in prepared
    texts = [*ROOT.glob("export/apps/templates/**/*"), ROOT / "README.md"]
    for file in (file for file in texts if file.is_file() and file.suffix != ".svg"):
        assert not re.findall(r"onnxruntime>=\d", file.read_text(encoding="utf-8")), file
    newest = 21  # opset of onnxruntime 1.18: onnxruntime.ai/docs/reference/compatibility.html
    assert ExportSettings().opset <= newest


@pytest.mark.parametrize("version", ["1.17.3", "1.9.0", "0.5"])
def test_an_older_one_is_refused_with_the_reason(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", version)
    with pytest.raises(BackendError, match=f"{version}.*1.18.*IR version 10.*pip install"):
        import_onnxruntime()


def test_remains_of_an_uninstalled_one_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnxruntime, "__version__")
    with pytest.raises(BackendError, match="damaged"):
        import_onnxruntime()

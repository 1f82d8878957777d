"""Steady labels in the C++ program and on the web page: those of the Python runtime's stream."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from export.apps.render import TEMPLATES
from runtime.stream.smoothing import AVERAGE, Smoothing

HOW = [(8, 0.2), (1, 0.0), (12, 0.5)]
CPP = """
#include "smoothing.hpp"
#include <cstdio>
#include <cstdlib>

int main(int, char** argv) {
    Smoothing smoothing(std::atoi(argv[1]), std::atof(argv[2]));
    std::vector<double> row(static_cast<std::size_t>(std::atoi(argv[3])));
    std::printf("%d\\n", smoothing.delay());
    while (true) {
        for (double& value : row) {
            if (std::scanf("%lf", &value) != 1) return 0;
        }
        const auto& shares = smoothing.push(row);
        std::printf("%zu", smoothing.shown());
        for (const double value : shares) std::printf(" %.17g", value);
        std::printf("\\n");
    }
}
"""


def recorded() -> np.ndarray:
    """Shares of 60 frames: two classes that take turns, odd frames, and none of them."""
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.ones(4), 60)
    rows[10:30] = 0.3 * rows[10:30] + 0.7 * np.eye(4)[1]
    rows[30:45] = np.eye(4)[3]
    return rows


def python(frames: int, margin: float) -> tuple[int, list[int], np.ndarray]:
    smoothing = Smoothing(AVERAGE, frames, margin)
    shares, shown = [], []
    for row in recorded():
        shares.append(smoothing.push(row))
        shown.append(int(smoothing.shown or 0))
    return smoothing.delay, shown, np.array(shares)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no c++: apt install g++")
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "main.cpp").write_text(CPP, encoding="utf-8")
    source = TEMPLATES / "cpp"
    files = [folder / "main.cpp", source / "smoothing.cpp"]
    how = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-I", source]
    subprocess.run([compiler, *how, *files, "-o", folder / "smooth"], check=True, timeout=120)
    return folder / "smooth"


@pytest.mark.parametrize(("frames", "margin"), HOW)
def test_cpp_shows_what_python_shows(program: Path, frames: int, margin: float) -> None:
    text = "\n".join(" ".join(repr(float(value)) for value in row) for row in recorded())
    command = [program, str(frames), str(margin), "4"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    delay, *lines = done.stdout.splitlines()
    rows = [line.split() for line in lines]
    want = python(frames, margin)
    assert (int(delay), [int(row[0]) for row in rows]) == want[:2]
    np.testing.assert_allclose(np.array(rows, float)[:, 1:], want[2], atol=1e-12)


def test_cpp_refuses_what_python_refuses(program: Path) -> None:
    for how in (("0", "0.2"), ("8", "1"), ("8", "nan")):
        done = subprocess.run([program, *how, "4"], capture_output=True, timeout=60)
        assert done.returncode != 0


@pytest.mark.parametrize(("frames", "margin"), HOW)
def test_the_page_shows_what_python_shows(frames: int, margin: float) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: apt install nodejs")
    rows = recorded()
    script = f"""
    import {{ Smoothing }} from {json.dumps((TEMPLATES / "web" / "smoothing.js").as_uri())};
    const smoothing = new Smoothing({frames}, {margin});
    const labels = ['a', 'b', 'c'];
    const out = {rows.tolist()}.map((row) => [smoothing.push(row), smoothing.shown]);
    const again = new Smoothing({frames}, {margin});
    const answers = {rows.tolist()}.map((row) => {{
      const known = row[3] < 1;
      const guesses = labels.map((label, index) => ({{ label, index, probability: row[index] }}));
      return again.steady({{ guesses, known, modelMs: 1 }}, labels);
    }});
    console.log(JSON.stringify([smoothing.delay, out, answers]));
    """
    command = [node, "--input-type=module", "--eval", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    delay, out, answers = json.loads(done.stdout)
    want = python(frames, margin)
    assert (delay, [one[1] for one in out]) == want[:2]
    np.testing.assert_allclose([one[0] for one in out], want[2], atol=1e-12)
    # The page's answer: what is shown comes first, and "not sure" is no class.
    assert answers[44]["known"] is False and answers[29]["known"] is True
    assert answers[29]["guesses"][0]["label"] == "b" and answers[0]["modelMs"] == 1

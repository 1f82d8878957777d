"""The benchmark that asks three apps the same images: its counting, and what it says of an app that
was not run.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from photo_folder import write_photos
from tiny_bundles import make_bundle

from benchmarks import app_agreement, browser
from benchmarks.app_agreement import Answers, compare, main, python_answers
from runtime import Classifier


def test_a_row_counts_what_differs() -> None:
    want = Answers([0, 1, 2, 3], [0.5, 0.6, 0.7, 0.8], ["a", "b", "c", "d"])
    said = Answers([0, 1, 2, 1], [0.5, 0.6, 0.7, 0.55], ["a", "x", "c", "y"])
    assert compare("app", said, want) == "| app | 3 of 4 | 75.00% | 0.2 | 2 of 4 |"
    assert compare("app", Answers(said.indices, said.probabilities), want).endswith("| not told |")
    with pytest.raises(ValueError, match="zip"):
        compare("app", Answers([0], [0.5]), want)


def test_an_app_that_was_not_run_is_called_so(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", tmp_path)
    write_photos(tmp_path / "photos", 3)
    out = tmp_path / "page.md"
    main([str(bundle), str(tmp_path / "photos"), "--out", str(out)])
    assert out.read_text().count("not run") == 2 and "photos: 3 images" in out.read_text()


def test_the_reference_is_the_runtimes_own_answer(tmp_path: Path) -> None:
    bundle, images = (
        make_bundle(tmp_path / "bundle", tmp_path),
        write_photos(tmp_path / "photos", 7),
    )
    rows = Classifier.load(bundle, "fp32").predict(images, top_k=1)
    assert python_answers(bundle, images, "fp32").indices == [row[0].index for row in rows]


def test_a_failing_page_and_compiler_are_errors_with_their_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        app_agreement,
        "run_page",
        lambda *args, **options: {"steps": [{"state": "differs", "step": "pixels 0"}]},
    )
    with pytest.raises(RuntimeError, match="pixels 0"):
        app_agreement.web_answers(tmp_path, [])
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(RuntimeError, match="no Chromium"):
        browser.run_page(tmp_path, "x.html")


def test_a_page_that_posts_nothing_is_an_error_that_shows_the_requests(tmp_path: Path) -> None:
    if browser.find_chromium() is None:
        pytest.skip("no Chromium: apt install chromium, or set CHROMIUM")
    (tmp_path / "silent.html").write_text("<script>console.log('seen on the console')</script>")
    with pytest.raises(
        RuntimeError, match=r"(?s)posted nothing.*GET /silent.html.*seen on the console"
    ):
        browser.run_page(tmp_path, "silent.html", timeout_s=5)

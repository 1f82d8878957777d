"""The site builds without a warning, fetches nothing, and its generated pages are complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import bundle_reference
import command_reference
import pages
import pytest
import report_reference
import settings_reference
from paths import ROOT
from pydantic import BaseModel, Field

from compress.engine.config import Settings

FETCHED = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]*)")
SHARED = ("benchmarks", "compress", "export", "runtime")


def built(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``.ci/run`` does."""
    out = tmp_path_factory.mktemp("site")
    done = built(ROOT, out)
    assert done.returncode == 0, done.stderr
    return out


def test_a_reader_fetches_nothing(site: Path) -> None:
    html = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(html) > 40
    found = {str(path): FETCHED.findall(text) for path, text in html.items()}
    assert not {path: urls for path, urls in found.items() if urls}
    assert "fonts.g" not in "".join(html.values())
    assert FETCHED.findall('<script src="https://cdn.example/x.js">') == [
        "https://cdn.example/x.js"
    ]


def test_search_needs_no_server(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    places = {row["location"] for row in json.loads(index.partition("=")[2])["docs"]}
    assert "reference/settings.html#distill" in places
    page = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="assets/iframe-worker.js"' in page and (site / "assets/iframe-worker.js").exists()


def test_formulas_are_mathml() -> None:
    block = '<div class="arithmatex">\\[T^2 \\lt 4\\]</div>'
    assert "<math" in pages.on_page_content(block) and "arithmatex" not in pages.on_page_content(
        block
    )


@pytest.mark.parametrize(
    ("fault", "word"), [("[x](no-such-page.md)", "no-such-page"), ("[x](#no-such)", "no-such")]
)
def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path, fault: str, word: str) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    for name in SHARED:
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("mkdocs.yml", *pages.BORROWED.values()):
        shutil.copy(ROOT / name, tmp_path)
    page = tmp_path / "docs" / "glossary.md"
    page.write_text(page.read_text(encoding="utf-8") + f"\n{fault}\n", encoding="utf-8")
    done = built(tmp_path, tmp_path / "out")
    assert done.returncode and word in done.stderr


def test_links_are_turned_to_where_the_site_has_their_files() -> None:
    turn = pages.with_links_turned
    assert turn("[a](../benchmarks/results/why.md)", "systems.md") == "[a](results/why.md)"
    here = turn("[a](../../benchmarks/results/why.md#x)", "how-to/apps.md")
    assert here == "[a](../results/why.md#x)"
    assert turn("[a](docs/scale.md) [b](#x)", "changelog.md") == "[a](scale.md) [b](#x)"
    assert turn("[a](gendd.md)", "results/why.md") == "[a](gendd.md)"


def test_every_setting_has_a_row() -> None:
    text = settings_reference.page()

    def names(model: type[BaseModel], prefix: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            kind = field.annotation
            inner = isinstance(kind, type) and issubclass(kind, BaseModel)
            found += names(kind, f"{prefix}{name}.") if inner else [prefix + name]  # type: ignore[arg-type]
        return found

    missing = [name for name in names(Settings) if f"| `{name}` |" not in text]
    assert not missing and len(names(Settings)) > 140
    untold = [line for line in text.splitlines() if re.match(r"\| `.*\|\s*\|$", line)]
    assert not untold, untold


def test_a_row_says_type_limits_default_and_comment() -> None:
    rows = settings_reference.page().splitlines()
    (row,) = [line for line in rows if line.startswith("| `data.test_fraction` |")]
    assert row.endswith("| number, > 0, < 1 | `0.2` | of a folder without test/ |")
    (row,) = [line for line in rows if line.startswith("| `data.shots` |")]
    assert "integer or `all`, ≥ 0 | `4` |" in row
    assert settings_reference.plain("a {b} | `c_d`") == "a \\{b\\} \\| `c_d`"


def test_limits_that_only_catch_typing_errors_are_left_out() -> None:
    field = Field(ge=1, le=settings_reference.MOST)
    assert settings_reference.limits(field) == ["≥ 1"]


def test_every_command_has_a_section() -> None:
    text = command_reference.page()
    for name in ("build", "estimate", "list", "compare", "evaluate"):
        assert f"\n## compress {name}\n" in text
    for name in command_reference.device_commands():
        assert f"### runtime {name} " in text
    assert "`--dry-run`" in text and "`--top-k`" in text


def test_every_part_of_the_report_has_a_table() -> None:
    text = report_reference.page()
    links = set(re.findall(r"\]\(#([a-z0-9]+)\)", text))
    headings = {line.removeprefix("## ").lower() for line in text.splitlines() if line[:3] == "## "}
    assert links <= headings and len(links) > 40


def test_the_bundle_page_tells_the_manifest() -> None:
    text = bundle_reference.page()
    assert '"schema": ' in text and "``" not in text

"""What MkDocs adds to the pages in docs/: pages made from the code, and files that lie elsewhere.

A page may link to any file of the repository as an editor or a forge shows it; if the site holds
that file under another address, the link is turned to it. Formulas become MathML, so that no
script has to be fetched for them.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import bundle_reference
import command_reference
import report_reference
import settings_reference
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
RESULTS = "benchmarks/results"
RESULTS_HEAD = """\
# Every measurement

Each page names the command that wrote it and the machine that ran it. Claims that fail stay.

"""


def results_page() -> str:
    """A list of every page of results, by its title."""
    pages = sorted((ROOT / RESULTS).glob("*.md"))
    titles = [path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for path in pages]
    rows = [
        f"- [{title}]({path.name}) (`{path.stem}`)\n"
        for path, title in zip(pages, titles, strict=True)
    ]
    return RESULTS_HEAD + "".join(rows)


#: address in the site -> what writes the page
MADE: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings_reference.page,
    "reference/commands.md": command_reference.page,
    "reference/report.md": report_reference.page,
    "reference/bundle.md": bundle_reference.page,
    "results/index.md": results_page,
}
#: address in the site -> a file of the repository outside docs/
BORROWED = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)")
ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):(?=<code>)")
MATH = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def borrowed() -> dict[str, str]:
    """Address in the site -> file outside docs/, as both are written in links."""
    results = (path.name for path in sorted((ROOT / RESULTS).iterdir()))
    shown = [name for name in results if name.endswith((".md", ".png", ".txt"))]
    return BORROWED | {f"results/{name}": f"{RESULTS}/{name}" for name in shown}


def on_startup(**_: object) -> None:
    """Lets pages show the code of this tree, also if another one is installed."""
    sys.path.insert(0, str(ROOT))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what is made and what is borrowed."""
    for address, write in MADE.items():
        files.append(File.generated(config, address, content=write()))
    for address, source in borrowed().items():
        files.append(File.generated(config, address, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turns links to files outside docs/ to where the site has them."""
    return with_links_turned(markdown, page.file.src_uri)


def with_links_turned(markdown: str, address: str) -> str:
    """The text of a page, its links those of the site.

    Args:
        address: of the page in the site, from which its place in the repository follows.
    """
    homes = {source: there for there, source in borrowed().items()}
    source = borrowed().get(address, f"docs/{address}")

    def turned(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        there = homes.get(target, target.removeprefix("docs/"))
        is_known = target in homes or target.startswith("docs/")
        start = PurePosixPath(address).parent.as_posix()
        return posixpath.relpath(there, start) if is_known else link[1]

    return LINK.sub(turned, markdown)


def on_page_content(content: str, **_: object) -> str:
    """Formulas as MathML; names in docstrings without their roles."""
    return ROLE.sub("", MATH.sub(_as_mathml, content))


def _as_mathml(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    return convert(html.unescape(found[2]).strip(), display=display)


def on_post_build(config: MkDocsConfig) -> None:
    """Removes from the site what readers do not need: maps of the theme's scripts and styles."""
    for path in Path(config.site_dir).rglob("*.map"):
        os.remove(path)

"""Every claim that was checked, in one table: ``python -m benchmarks.signs``.

Reads the verdict lines of the pages in ``results/`` and writes ``results/signs.md``: what holds,
    what is not shown, what fails.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
#: page -> what it is about, in the order of the table
PAGES = {
    "sasaki": "A, Sasaki et al.",
    "sidclip": "B, SIDCLIP ladder",
    "sidclip-table": "B, SIDCLIP table",
    "prompt-diversity": "C, Xuan et al.",
    "gendd": "D, GenDD (cached embeddings)",
    "cvlm": "E, Wei et al.",
    "real_photos": "real photos (CIFAR-10)",
    "edge": "the recipe, petals",
    "edge_photos": "the recipe, CIFAR-10",
}
LINE = re.compile(
    r"^- \**(holds|not shown|FAILS)\**: (.*) \(((?:[^()]|\([^()]*\))*)\)$", re.MULTILINE
)


def verdicts(text: str) -> list[tuple[str, str, str]]:
    """(verdict, claim, figures) of every checked claim of a page."""
    return [(found[1], found[2], found[3]) for found in LINE.finditer(text)]


def page(results: Path = RESULTS) -> str:
    """The Markdown page: how many claims of each page hold, then every claim."""
    rows, summary = [], []
    for name, about in PAGES.items():
        if not (results / f"{name}.md").exists():
            continue
        found = verdicts((results / f"{name}.md").read_text())
        counts = Counter(verdict for verdict, _, _ in found)
        summary.append(
            f"| {about} | {counts['holds']} | {counts['not shown']} | {counts['FAILS']} |"
        )
        for verdict, claim, figures in found:
            mark = "**FAILS**" if verdict == "FAILS" else verdict
            rows.append(f"| [{about}]({name}.md) | {claim} | {mark} | {figures} |")
    return f"""# Every claim that was checked

`python -m benchmarks.signs` gathers the verdicts of the pages beside this one.

| page | hold | not shown | fail |
|---|---|---|---|
{chr(10).join(summary)}

A claim holds where the 95 % interval of the paired difference over seeds lies above zero (or a threshold is met); it is not shown
where that interval contains zero; it fails where the mean difference has the other sign. All in miniatures: nothing here says
what the papers' own models would do.

| page | claim | verdict | figures |
|---|---|---|---|
{chr(10).join(rows)}
"""


def main() -> None:
    (RESULTS / "signs.md").write_text(page())


if __name__ == "__main__":
    main()

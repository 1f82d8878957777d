"""Every checked claim in one table.

    python -m benchmarks.signs

Reads the verdict lines of the pages in ``results/`` and writes ``results/signs.md``: which claims
hold, are not shown, or fail.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from benchmarks.page import RESULTS, table

#: page -> its subject, in the order of the table
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
    return [(match[1], match[2], match[3]) for match in LINE.finditer(text)]


def page(results: Path = RESULTS) -> str:
    """The Markdown page: how many claims of each page hold, then every claim."""
    rows = []
    summary = []
    for name, subject in PAGES.items():
        file = results / f"{name}.md"
        if file.exists():
            claims = verdicts(file.read_text(encoding="utf-8"))
            counts = Counter(verdict for verdict, _, _ in claims)
            summary.append((subject, counts["holds"], counts["not shown"], counts["FAILS"]))
            for verdict, claim, figures in claims:
                mark = "**FAILS**" if verdict == "FAILS" else verdict
                rows.append((f"[{subject}]({name}.md)", claim, mark, figures))
    return f"""# Every claim that was checked

`python -m benchmarks.signs` gathers the verdicts of the pages beside this one.

{table("page | hold | not shown | fail", summary)}

A claim holds where the 95 % interval of the paired difference over seeds lies above zero (or a \
threshold is met); it is not shown
where that interval contains zero; it fails where the mean difference has the other sign. All in \
miniatures: nothing here says
what the papers' own models would do.

{table("page | claim | verdict | figures", rows)}
"""


def main() -> None:
    (RESULTS / "signs.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

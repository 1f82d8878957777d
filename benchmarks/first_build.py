"""What a build prints, how long it takes and where the time goes, and the top of its report.

    python -m benchmarks.first_build petals
    python -m benchmarks.first_build flowers12 --data FLOWERS12 --shots 8      # folder of photos

Runs ``compress build`` as a user would, in an empty work folder, and writes beside each other, for
petals, ``petals_build.txt`` (its last lines), ``petals_build.md`` (seconds per stage) and
``petals_report.png`` (with a Chromium). Nothing else should run meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import page
from benchmarks.browser import screenshot
from runtime.host.telemetry import usable_cores

COLUMNS = "100"  # of the terminal
WINDOW = (1280, 1500)  # of the picture, in pixels


def build(command: Sequence[str], work: Path) -> tuple[str, float]:
    """What the command printed on standard output, and the seconds that it took."""
    environment = {**os.environ, "COLUMNS": COLUMNS}
    clock = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "compress", *command, "--work-dir", str(work)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return ended.stdout, time.perf_counter() - clock


def last_lines(printed: str, work: Path) -> str:
    """The summary: from its title, "NAME · K classes · ...", on; without places of this machine."""
    lines = [line.rstrip() for line in printed.splitlines()]
    start = next(i for i, line in enumerate(lines) if " classes · " in line)
    return "\n".join(lines[start:]).replace(str(work), "work")


def real(seconds: float) -> str:
    """Seconds as the shell's ``time`` prints them."""
    return f"real    {int(seconds // 60)}m{seconds % 60:.0f}s"


def stages_page(shown: str, seconds: Mapping[str, float], whole: float) -> str:
    """The seconds of each stage as a page; what is left is imports and checks."""
    rest = whole - sum(seconds.values())
    rows = [*sorted(seconds.items(), key=lambda row: -row[1]), ("imports and checks", rest)]
    cells = [(name, f"{value:.1f}", f"{100 * value / whole:.0f} %") for name, value in rows]
    return f"""# Where the time of a build goes

    {shown}

{page.table("stage | seconds | share", cells)}

{whole:.0f} s in all; {usable_cores()} cores, {page.cpu()}; {page.library_versions()}.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds, and writes the three files."""
    parser = page.options("first_build", __doc__)
    parser.add_argument("name", help="of the files, and of the dataset without --data")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--shots", default="4")
    options = parser.parse_args(arguments)
    source = ["--data", str(options.data)] if options.data else ["--dataset", options.name]
    more = ["--offline"] if options.data else []
    command = ["build", *source, "--shots", options.shots, *more]
    words = ["--data", f"{options.name}/"] if options.data else source
    shown = " ".join(["compress", "build", *words, "--shots", options.shots, *more])
    folder = options.out.parent
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch).resolve()
        printed, whole = build(command, work)
        (run,) = (work / "runs").iterdir()
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        text = f"$ time {shown}\n{last_lines(printed, work)}\n\n{real(whole)}\n"
        (folder / f"{options.name}_build.txt").write_text(text, encoding="utf-8")
        page.write(
            folder / f"{options.name}_build.md", stages_page(shown, report["timings_s"], whole)
        )
        screenshot(run / "report.html", folder / f"{options.name}_report.png", WINDOW)


if __name__ == "__main__":
    main()

"""Coverage-guided fuzzing of one reader, by hand and for as long as one likes (pip install atheris;
Linux, CPython).

    python tests/fuzz/run.py onnx CORPUS_FOLDER -max_total_time=600

The folder may hold valid files to start from; libFuzzer (llvm.org/docs/LibFuzzer.html) adds what
reached new code. It stops at the first exception that is no EdgeError, after 25 s on one input, or
above 2 GB of memory, and keeps the input.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
with atheris.instrument_imports(include=["runtime"]):
    from readers import READERS, refused

LIMITS = ["-timeout=25", "-rss_limit_mb=2048"]


def one_input(data: bytes) -> None:
    refused(reader, data)


if len(sys.argv) < 2 or sys.argv[1] not in READERS:
    raise SystemExit(f"usage: run.py {'|'.join(READERS)} [CORPUS_FOLDER] [-max_total_time=SECONDS]")
reader = sys.argv.pop(1)
atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:]], one_input)
atheris.Fuzz()

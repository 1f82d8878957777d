"""What this machine can build, run and measure: ``compress doctor``. The device's part is
``runtime.commands.doctor``.

Packages are asked for their versions, not imported: torch alone would take seconds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from runtime.commands.doctor import (
    DEVICE_GROUPS,
    MISSING,
    NOTE,
    OK,
    PARTLY,
    Finding,
    device_findings,
    is_writable,
    lines,
    package_finding,
    to_json,
    verdict,
    works,
)
from runtime.host import telemetry

DISTRIBUTION = "clip2edge"
BUILD = "pip install 'clip2edge[build]'"
MIN_BUILD_MEMORY = 4e9  # the petals build; a ViT-L/14 teacher in float32 alone is 1.7 GB
MIN_WORK_BYTES = 5e9  # decoded images, synthetic images and checkpoints of one middling run
HUB_SECONDS = 1.0
TOOL_SECONDS = 1.0
WEIGHTS = Path(__file__).parents[1] / "petals" / "weights"
GROUPS = (DEVICE_GROUPS[0], ("build", "Build a student"), *DEVICE_GROUPS[1:], ("apps", "Apps"))


@dataclass(frozen=True)
class Tool:
    """A program that an app's project needs.

    Attributes:
        names: what it may be called; the first found counts.
        version: the words that make it print its version in few milliseconds; empty: it is not
            asked.
        serves: what it is needed for.
        remedy: how to get it.
    """

    names: tuple[str, ...]
    version: tuple[str, ...]
    serves: str
    remedy: str


TOOLS = {
    "node": Tool(("node",), ("--version",), "transformers.js", "sudo apt install nodejs npm"),
    "npm": Tool(("npm",), (), "onnxruntime-web for the web page", "sudo apt install nodejs npm"),
    "cmake": Tool(("cmake",), ("--version",), "the C++ project", "sudo apt install cmake"),
    "C++": Tool(
        ("c++", "g++", "clang++"), ("--version",), "the C++ project", "sudo apt install g++"
    ),
    "browser": Tool(
        ("chromium", "chromium-browser", "google-chrome", "firefox"),
        (),
        "the web page",
        "sudo apt install chromium",
    ),
    "docker": Tool(
        ("docker", "podman"),
        (),
        "the Triton repository and the Jetson container",
        "docs.docker.com/engine/install",
    ),
}


def findings(hub: Callable[[], bool] | None = None) -> list[Finding]:
    """All that was looked at, in a second or two; ``hub`` asks whether the model hub answers."""
    answer = _Asked(hub or _ask_hub)
    found = [*device_findings(), *_packages(), *_torch(), *_places(), *_apps()]
    return [*found, _hub(answer)]


def doctor(as_json: bool = False, look: Callable[[], list[Finding]] = findings) -> int:
    """Prints what was found; exit code 0 where builds and bundles work, else 1."""
    found = look()
    can = works(found, "build") and works(found, "run")
    if as_json:
        print(json.dumps(to_json(found), indent=1))
    else:
        print("\n".join(lines(found, GROUPS)))
        print(f"\n{verdict('builds students', works(found, 'build'))}")
        print(verdict("runs bundles", works(found, "run")))
    return 0 if can else 1


def requirements(extra: str = "build") -> list[tuple[str, str]]:
    """(package, oldest version) of an extra, from this package's own metadata.

    Raises:
        metadata.PackageNotFoundError: it is not installed.
    """
    out = []
    for text in metadata.requires(DISTRIBUTION) or []:
        match = re.match(
            r"([A-Za-z0-9_.-]+)\s*(?:>=\s*([0-9.]+))?.*;\s*extra\s*==\s*['\"](\w[\w-]*)['\"]", text
        )
        if match and match[3] == extra and match[1] != DISTRIBUTION:
            out.append((match[1], match[2] or "0"))
    return out


def _packages() -> Iterator[Finding]:
    """One line for all that is well, one for each that is not."""
    try:
        wanted = requirements()
    except metadata.PackageNotFoundError:
        yield Finding(
            "build",
            "clip2edge",
            MISSING,
            "not installed: its requirements are unknown",
            "pip install -e '.[build]'",
            needed=True,
        )
        return
    checked = [
        package_finding("build", package, floor, BUILD, needed=True) for package, floor in wanted
    ]
    good = [f for f in checked if f.state == OK]
    if good:
        yield Finding("build", "packages", OK, ", ".join(f"{f.name} {f.detail}" for f in good))
    yield from (f for f in checked if f.state != OK)


def _torch() -> Iterator[Finding]:
    """The GPU that torch was built for, from its version file."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return
    file = Path(spec.origin).with_name("version.py")
    match = (
        re.search(r"^cuda[^=]*=\s*'([\d.]+)'", file.read_text(), re.MULTILINE)
        if file.exists()
        else None
    )
    host = telemetry.host()
    gpu = host.gpu or (
        "NVIDIA driver present" if Path("/proc/driver/nvidia/version").exists() else None
    )
    if gpu and match is None:
        yield Finding(
            "build",
            "GPU",
            PARTLY,
            f"{gpu}, but this torch was built without CUDA",
            "pip install torch from the index of your CUDA version (pytorch.org)",
        )
    elif gpu and match:
        yield Finding("build", "GPU", OK, f"{gpu}, torch for CUDA {match[1]}: --device cuda")
    else:
        yield Finding(
            "build",
            "GPU",
            NOTE,
            "none: students train on the CPU; large generators need hours there",
        )


def _places() -> Iterator[Finding]:
    has_world = (WEIGHTS / "train_log.jsonl").exists()
    yield Finding(
        "build",
        "petals world",
        OK if has_world else MISSING,
        "embedded: compress build --dataset petals works offline"
        if has_world
        else f"nothing in {WEIGHTS}",
        None if has_world else "pip install --force-reinstall clip2edge",
    )
    work = Path(
        os.environ.get("CLIP2EDGE_WORK") or "work"
    ).resolve()  # as compress.api.work_folder, which needs pydantic
    writable = is_writable(work)
    yield Finding(
        "build",
        "work folder",
        OK if writable else MISSING,
        str(work) if writable else f"{work}: not writable",
        None if writable else "--work-dir DIR, or export CLIP2EDGE_WORK=DIR",
        needed=True,
    )
    place = next((folder for folder in (work, *work.parents) if folder.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    yield Finding(
        "build",
        "disk (work)",
        OK if free >= MIN_WORK_BYTES else PARTLY,
        f"{free / 1e9:.1f} GB free",
        None if free >= MIN_WORK_BYTES else "compress clean, or --work-dir on a larger disk",
    )
    memory = telemetry.host().memory_available_bytes
    if memory is not None and memory < MIN_BUILD_MEMORY:
        yield Finding(
            "build",
            "memory",
            PARTLY,
            f"{memory / 1e9:.1f} GB free: enough for petals, not for ViT-L/14",
            "close other programs, or use a smaller --teacher",
        )


def _apps() -> Iterator[Finding]:
    with ThreadPoolExecutor(len(TOOLS)) as pool:
        yield from pool.map(_tool, TOOLS)


def _tool(name: str) -> Finding:
    tool = TOOLS[name]
    path = next((found for found in map(shutil.which, tool.names) if found), None)
    if path is None:
        return Finding("apps", name, MISSING, f"not found; {tool.serves} needs it", tool.remedy)
    version = _version(path, tool.version) if tool.version else None
    return Finding("apps", name, OK, f"{version or path} ({tool.serves})")


def _version(path: str, words: tuple[str, ...]) -> str | None:
    """The first number with a dot in what a program prints; None where it says nothing in time."""
    try:
        done = subprocess.run(
            [path, *words],
            capture_output=True,
            text=True,
            timeout=TOOL_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\d+(?:\.\d+)+", done.stdout)
    return match[0] if match else None


class _Asked:
    """A question that is answered in the background: looking a name up can take longer than any
    time-out.
    """

    def __init__(self, ask: Callable[[], bool]) -> None:
        self.answer: bool | None = None

        def run() -> None:
            self.answer = ask()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool | None:
        self._thread.join(seconds)
        return self.answer


def _ask_hub() -> bool:
    from compress.engine.hub import hub_answers

    return hub_answers(HUB_SECONDS)


def _hub(asked: _Asked) -> Finding:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return Finding(
            "build",
            "model hub",
            NOTE,
            "HF_HUB_OFFLINE is set: only what lies in the local cache is used",
        )
    if asked.wait(HUB_SECONDS):
        return Finding("build", "model hub", OK, "answers")
    return Finding(
        "build",
        "model hub",
        PARTLY,
        f"no answer within {HUB_SECONDS:g} s: pretrained teachers and generators cannot be fetched",
        "place them by hand: --teacher PATH --generator PATH; petals needs none",
    )

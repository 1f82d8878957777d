"""What this machine can build, run and measure: ``compress doctor``.

The device's part is ``runtime.commands.findings``. Versions are read from package metadata:
importing torch alone takes seconds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from runtime.commands.doctor import DEVICE_GROUPS, lines, to_json, verdict
from runtime.commands.findings import (
    MISSING,
    NOTE,
    OK,
    PARTLY,
    Finding,
    device_findings,
    is_writable,
    package_finding,
    works,
)
from runtime.files.strict_json import to_text
from runtime.host import telemetry

DISTRIBUTION = "clip2edge"
INSTALL = "pip install 'clip2edge[build]'"
MIN_BUILD_MEMORY = 4e9  # the petals build; a ViT-L/14 teacher in float32 alone is 1.7 GB
MIN_WORK_BYTES = 5e9  # decoded images, synthetic images and checkpoints of a medium run
HUB_SECONDS = 1.0
TOOL_SECONDS = 1.0
WEIGHTS = Path(__file__).parents[1] / "petals" / "weights"
GROUPS = (DEVICE_GROUPS[0], ("build", "Build a student"), *DEVICE_GROUPS[1:], ("apps", "Apps"))
#: One line of an extra in the package metadata: name, oldest version, extra.
REQUIREMENT = re.compile(
    r"([A-Za-z0-9_.-]+)\s*(?:>=\s*([0-9.]+))?.*;\s*extra\s*==\s*['\"](\w[\w-]*)['\"]"
)

build_finding = partial(Finding, "build")


@dataclass(frozen=True)
class Tool:
    """A program that an app's project needs."""

    names: tuple[str, ...]  # the first on the path counts
    prints_version: bool  # in milliseconds; if not, it is not run
    serves: str
    remedy: str


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")
TRITON = "the Triton repository and the Jetson container"
TOOLS = {
    "node": Tool(("node",), True, "transformers.js", "sudo apt install nodejs npm"),
    "npm": Tool(("npm",), False, "onnxruntime-web for the web page", "sudo apt install nodejs npm"),
    "cmake": Tool(("cmake",), True, "the C++ project", "sudo apt install cmake"),
    "C++": Tool(("c++", "g++", "clang++"), True, "the C++ project", "sudo apt install g++"),
    "browser": Tool(BROWSERS, False, "the web page", "sudo apt install chromium"),
    "gradle": Tool(("gradle",), False, "the Android project", "developer.android.com/studio"),
    "docker": Tool(("docker", "podman"), False, TRITON, "docs.docker.com/engine/install"),
}


def doctor(as_json: bool = False, find: Callable[[], list[Finding]] | None = None) -> int:
    """Prints the findings; exit code 0 if builds and bundles work, else 1."""
    found = (find or findings)()
    builds = works(found, "build")
    runs = works(found, "run")
    if as_json:
        print(to_text(to_json(found), indent=1))
    else:
        print("\n".join(lines(found, GROUPS)))
        print(f"\n{verdict('builds students', builds)}")
        print(verdict("runs bundles", runs))
        print(f"Next: {next_command(found)}")
    return 0 if builds and runs else 1


def next_command(found: Sequence[Finding]) -> str:
    """What to type now: a build that this machine can do, else the first remedy it needs."""
    builds = [f for f in found if f.group == "build"]
    if not works(builds, "build"):
        remedies = (f.remedy for f in builds if f.needed and f.state == MISSING)
        return next(filter(None, remedies), INSTALL)
    if any(f.state == PARTLY for f in builds if f.name in ("disk (work)", "memory")):
        return "compress build --dataset petals --shots 4"
    has_gpu = any(f.name == "GPU" and f.state == OK for f in builds)
    device = " --device cuda" if has_gpu else ""
    return f"compress build --data photos/ --shots 8{device}    (photos/<class>/*.jpg)"


def findings(hub: Callable[[], bool] | None = None) -> list[Finding]:
    """All findings, in a second or two; ``hub`` asks whether the model hub answers."""
    answer = Answer(hub or ask_hub)  # meanwhile, the rest
    found = [*device_findings(), *_packages(), *_torch(), *_places(), *tool_findings()]
    return [*found, hub_finding(answer)]


def requirements(extra: str = "build") -> list[tuple[str, str]]:
    """(package, oldest version) of an extra, from this package's own metadata."""
    matches = map(REQUIREMENT.match, metadata.requires(DISTRIBUTION) or [])
    return [
        (match[1], match[2] or "0")
        for match in matches
        if match and match[3] == extra and match[1] != DISTRIBUTION
    ]


def _packages() -> Iterator[Finding]:
    """One line for all packages that are fine, one for each other."""
    try:
        required = requirements()
    except metadata.PackageNotFoundError:
        detail = "not installed: its requirements are unknown"
        yield build_finding("clip2edge", MISSING, detail, "pip install -e '.[build]'", needed=True)
        return
    checked = [package_finding("build", *row, INSTALL, needed=True) for row in required]
    fine = ", ".join(f"{f.name} {f.detail}" for f in checked if f.state == OK)
    if fine:
        yield build_finding("packages", OK, fine)
    yield from (f for f in checked if f.state != OK)


def _torch() -> Iterator[Finding]:
    """The GPU, and whether torch is built for it (as its version file says)."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return
    file = Path(spec.origin).with_name("version.py")
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    cuda = re.search(r"^cuda[^=]*=\s*'([\d.]+)'", text, re.MULTILINE)
    gpu = telemetry.host().gpu
    if gpu is None and Path("/proc/driver/nvidia/version").exists():
        gpu = "NVIDIA driver present"
    if gpu is None:
        yield build_finding("GPU", NOTE, "none: large generators need hours on a CPU")
    elif cuda:
        yield build_finding("GPU", OK, f"{gpu}, torch for CUDA {cuda[1]}: --device cuda")
    else:
        remedy = "pip install torch from the index of your CUDA version (pytorch.org)"
        yield build_finding("GPU", PARTLY, f"{gpu}, but this torch is built without CUDA", remedy)


def _places() -> Iterator[Finding]:
    """The embedded world, the work folder, its disk, and memory."""
    if (WEIGHTS / "train_log.jsonl").exists():
        yield build_finding("petals world", OK, "compress build --dataset petals works offline")
    else:
        remedy = "pip install --force-reinstall clip2edge"
        yield build_finding("petals world", MISSING, f"nothing in {WEIGHTS}", remedy)
    # as compress.api.work_folder, which needs pydantic
    work = Path(os.path.realpath(os.path.expanduser(os.environ.get("CLIP2EDGE_WORK") or "work")))
    if is_writable(work):
        yield build_finding("work folder", OK, str(work), needed=True)
    else:
        remedy = "--work-dir DIR, or export CLIP2EDGE_WORK=DIR"
        yield build_finding("work folder", MISSING, f"{work}: not writable", remedy, needed=True)
    place = next((folder for folder in (work, *work.parents) if folder.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    enough = free >= MIN_WORK_BYTES
    more = None if enough else "compress clean, or --work-dir on a larger disk"
    yield build_finding("disk (work)", OK if enough else PARTLY, f"{free / 1e9:.1f} GB free", more)
    memory = telemetry.host().memory_available_bytes
    if memory is not None and memory < MIN_BUILD_MEMORY:
        detail = f"{memory / 1e9:.1f} GB free: enough for petals, not for ViT-L/14"
        remedy = "close other programs, or use a smaller --teacher"
        yield build_finding("memory", PARTLY, detail, remedy)


def tool_findings() -> Iterator[Finding]:
    """The programs that apps need, asked for their versions side by side."""
    with ThreadPoolExecutor(len(TOOLS)) as pool:
        yield from pool.map(_tool, TOOLS)


def _tool(name: str) -> Finding:
    tool = TOOLS[name]
    path = next((path for path in map(shutil.which, tool.names) if path), None)
    if path is None:
        return Finding("apps", name, MISSING, f"not found; {tool.serves} needs it", tool.remedy)
    version = _version(path) if tool.prints_version else None
    return Finding("apps", name, OK, f"{version or path} ({tool.serves})")


def _version(path: str) -> str | None:
    """The first number with a dot that ``--version`` prints; None if it prints none in time."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, input="", text=True, timeout=TOOL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\d+(?:\.\d+)+", done.stdout)
    return match[0] if match else None


class Answer:
    """The answer of a question asked in the background: resolving a name heeds no time-out."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._answers: list[bool] = []
        # a daemon does not keep the interpreter alive
        self._thread = threading.Thread(target=lambda: self._answers.append(ask()), daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """The answer; False if there is none in time."""
        self._thread.join(seconds)
        return any(self._answers)


def ask_hub() -> bool:
    """Whether the model hub answers."""
    from compress.engine.hub import hub_answers

    return hub_answers(HUB_SECONDS)


def hub_finding(answer: Answer) -> Finding:
    """Whether pretrained weights can be downloaded."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return build_finding("model hub", NOTE, "HF_HUB_OFFLINE is set: the local cache is used")
    if answer.wait(HUB_SECONDS):
        return build_finding("model hub", OK, "answers")
    detail = f"no answer within {HUB_SECONDS:g} s: no pretrained teachers and generators"
    remedy = "place them by hand: --teacher PATH --generator PATH; petals and --data need none"
    return build_finding("model hub", PARTLY, detail, remedy)

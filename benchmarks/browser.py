"""Runs pages in a headless Chromium: a served folder's page posts its result back as JSON."""

from __future__ import annotations

import functools
import http.server
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
RESULT = "/result"  # where a page posts JSON

# root has no sandbox, a GPU may round colors in another way, /dev/shm is small in containers
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--mute-audio",
)
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def find_chromium() -> str | None:
    """The browser: $CHROMIUM, else the first of ``PROGRAMS`` on PATH."""
    found = (shutil.which(name) for name in PROGRAMS)
    return os.environ.get("CHROMIUM") or next(filter(None, found), None)


def screenshot(file: Path, out: Path, size: tuple[int, int]) -> None:
    """The top of an HTML file as a PNG of ``size``, (width, height) in pixels.

    Raises: RuntimeError: no browser.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [_program(), *FLAGS, f"--user-data-dir={profile}", "--hide-scrollbars"]
        command += [f"--window-size={size[0]},{size[1]}", f"--screenshot={out}", file.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=300)


def _program() -> str:
    program = find_chromium()
    if program is None:
        raise RuntimeError("no Chromium: apt install chromium, or set CHROMIUM")
    return program


class _Handler(http.server.SimpleHTTPRequestHandler):
    results: queue.Queue[Any]
    requests: list[str]
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript"
    }

    def do_POST(self) -> None:
        self.results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        self.requests.append(format % args)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, queue.Queue[Any], list[str]]]:
    """(address, posted results, log of requests) of a server of ``folder`` on localhost."""
    results: queue.Queue[Any] = queue.Queue()
    requests: list[str] = []
    handler = type("Handler", (_Handler,), {"results": results, "requests": requests})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", results, requests
    finally:
        server.shutdown()
        server.server_close()


def run_page(folder: Path, page: str, flags: Sequence[str] = (), timeout_s: float = 300) -> Any:
    """Opens ``page`` of ``folder`` and returns the JSON that it posts to ``RESULT``.

    Raises:
        RuntimeError: no browser, or nothing was posted in time; the message holds the last requests
            and console lines.
    """
    program = _program()
    # the browser's own children may still write to its profile when it is gone
    profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with served(folder) as (address, results, requests), profile as scratch:
        log = Path(scratch) / "console.txt"
        own = (f"--user-data-dir={scratch}/data", "--enable-logging=stderr")
        command = [program, *FLAGS, *flags, *own, f"{address}/{page}"]
        with open(log, "wb") as console:
            browser = subprocess.Popen(command, stdout=console, stderr=console)
        try:
            return results.get(timeout=timeout_s)
        except queue.Empty:
            lines = log.read_text(errors="replace", encoding="utf-8").splitlines()
            console_lines = [line for line in lines if "CONSOLE" in line]
            seen = "\n".join([*requests[-20:], *console_lines[-20:]])
            raise RuntimeError(f"{page} posted nothing in {timeout_s} s\n{seen}") from None
        finally:
            browser.terminate()
            browser.wait(20)

"""The page of the bundle, from the docstrings of the modules that read one."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

HEAD = """\
# The bundle

The folder that ships, and all that an app needs. Every file is listed in `manifest.json` with its
size and SHA-256, and is verified before
it is used. What is refused: [security](../security.md#bundles). From Python:
[`open_bundle`](runtime.md).

"""
#: heading -> the module whose docstring tells the format
PARTS = {
    "manifest.json": "runtime.files.manifest",
    "Confidence": "runtime.files.confidence",
    "Preprocessing": "runtime.preprocess",
    "Golden vectors": "runtime.golden",
    "Model files": "runtime.files.onnx",
}


def page() -> str:
    """The page as Markdown."""
    return HEAD + "".join(f"## {heading}\n\n{told(name)}\n\n" for heading, name in PARTS.items())


def told(module: str) -> str:
    """A module's docstring as Markdown: literal blocks and code spans."""
    text = inspect.getdoc(import_module(module)) or ""
    text = re.sub(r"(?m)^::$\n", "", text).replace("::\n", ":\n")
    return text.replace("``", "`") + f"\n\nRead by `{module}`."

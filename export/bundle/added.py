"""A build's bundle with the classes that were added to the one that it replaces.

``compress add-class`` changes the files of models. A build that ends with the same models again
adds the same classes again, to the same bytes; one that trained other models cannot, since the
classes' rows belong to the features of the old ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from export.bundle.folder import scratch_beside
from runtime.bundle import MANIFEST, check_file, open_bundle
from runtime.errors import EdgeError
from runtime.files.added import ADDED
from runtime.files.manifest import read_manifest
from runtime.learning.write import added_classes, write_added


@contextlib.contextmanager
def with_added(fresh: Path, bundle: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """``fresh``, or a copy of it with the classes that were added to ``bundle``; and notes."""
    try:
        manifest = read_manifest(bundle) if (bundle / MANIFEST).is_file() else {}
        if part := manifest.get(ADDED):
            check_file(bundle, part["rows"], manifest["files"][part["rows"]])
        classes = added_classes(bundle, manifest)
    except EdgeError:  # what is damaged is told by the one that replaces it
        yield fresh, ()
        return
    if not part:
        yield fresh, ()
        return
    base = open_bundle(fresh)
    if any(base.manifest["files"].get(name) != row for name, row in part["trained"].items()):
        names = ", ".join(one.name for one in classes)
        again = "build with photos of these classes, or compress add-class adds them again"
        yield fresh, (f"{bundle.name}: dropped, because the model is another: {names}; {again}",)
        return
    with scratch_beside(bundle) as scratch:
        left = iter(classes)
        for step, count in enumerate(part["steps"]):
            goal = scratch / str(step)
            write_added(base, goal, list(islice(left, count)), listed_only=True)
            base = open_bundle(goal)
        yield base.path, ()

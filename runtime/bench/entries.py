"""The models under test in a bench: a bundle's, and its teacher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends import BACKENDS, finite
from runtime.backends import backend as backend_row
from runtime.backends.onnxruntime import executed
from runtime.bench.report import BundleFacts, TeacherFacts
from runtime.bundle import MANIFEST, Bundle, open_bundle, sha256_of
from runtime.classifier import Classifier
from runtime.errors import BundleError
from runtime.host import telemetry

TEACHER = "teacher"


@dataclass(frozen=True)
class Entry:
    """A model that is timed."""

    key: str  # its name among the others: its precision, or "teacher"
    model: str  # what a row calls it: the bundle's folder, or "teacher"
    source: Path  # what ``Classifier.load`` takes
    precision: str  # the model in it
    file: Path
    sha256: str
    requested: bool = True  # by the user: its failure is then an error, otherwise a state
    backend: str = "onnxruntime"


@dataclass(frozen=True)
class Loaded:
    """An entry in memory."""

    entry: Entry
    classifier: Classifier
    batches: dict[int, np.ndarray]  # images per call -> an input for ``classifier.runner.run``
    resident_bytes: int | None  # growth of this process by loading and the first image

    @property
    def unit(self) -> str:
        """The unit whose clock and power its work shows in: "cpu" or "gpu"."""
        return getattr(self.classifier.runner, "unit", BACKENDS[self.classifier.backend].unit)


@dataclass(frozen=True)
class KernelProfile:
    """What ran: kernel -> nodes, provider -> nodes, and what the engine does not reveal."""

    kernels: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, int] | None = None
    states: tuple[str, ...] = ()


def entries(
    bundle: Bundle,
    models: Sequence[str] | None,
    teacher: str | Path | None,
    backends: Sequence[str] = ("onnxruntime",),
) -> list[Entry]:
    """The bundle's ``models`` in their order on each engine, and the teacher last, on the first.

    Without ``models`` every plain precision is taken, no variant such as "fp32.batch1". A model on
    a further engine is called "int8.openvino", after its own file or after the one it shares.

    Raises: BundleError: no such model, or a teacher that is no bundle and no .onnx file.
    """
    own = bundle.path.resolve().name
    folder = "student" if teacher is not None and own == TEACHER else own
    if len(backends) > 1:  # then an engine skips what it does not read, a name that is none too
        for name in models or ():
            bundle.model(name)
    out = []
    for backend in backends:
        for precision in precisions(bundle, models, backend, len(backends) > 1):
            file = bundle.model(precision)
            is_plain = backend == backends[0] or precision.endswith(f".{backend}")
            key = precision if is_plain else f"{precision}.{backend}"
            asked = bool(models) and len(backends) == 1
            digest = bundle.digest(file)
            out.append(Entry(key, folder, bundle.path, precision, file, digest, asked, backend))
    return out + ([] if teacher is None else [_teacher(Path(teacher), backends[0])])


def precisions(
    bundle: Bundle, models: Sequence[str] | None, backend: str, only_readable: bool
) -> list[str]:
    """Keys of the models that an engine loads for ``models``, or for every plain precision.

    ``only_readable`` leaves out those that are no files for it.
    """
    row = backend_row(backend)
    names = models or [name for name in bundle.models if "." not in name]
    keys = [row.model(name, bundle.default, bundle.targets) for name in names]
    if not models and row.format:
        targets = (key.split(".") for key in bundle.targets)
        keys += [f"{base}.{row.format}" for base, *rest in targets if rest == [row.format]]
    files = {**bundle.target_files, **bundle.models}
    readable = [key for key in keys if key in files and files[key].suffix in row.reads]
    return list(dict.fromkeys(readable if only_readable else keys))


def bundle_facts(bundle: Bundle) -> BundleFacts:
    """Which bundle that is."""
    manifest = sha256_of(bundle.path / MANIFEST)
    return BundleFacts(bundle.path.resolve().name, manifest, bundle.default)


def teacher_facts(teacher: str | Path) -> TeacherFacts:
    """Which teacher that is."""
    path = Path(teacher)
    if not path.is_dir():
        return TeacherFacts(path.name, file_sha256=sha256_of(path))
    facts = bundle_facts(open_bundle(path, verify=False))
    return TeacherFacts(facts.name, facts.manifest_sha256, facts.default)


def load(
    entry: Entry, batches: Sequence[int], threads: int | None, options: Mapping[str, Any]
) -> Loaded:
    """Loads an entry and runs it once on every batch.

    Raises: BundleError, BackendError: as ``Classifier.load``, or the engine refuses a batch.
    """
    backend_row(entry.backend).preload()  # the engine's library is no model's growth
    before = telemetry.rss_bytes()
    origin = (entry.source, entry.precision, entry.backend, threads)
    item = Classifier.load(*origin, verify=False, **options)
    size, rng = item.spec.size, np.random.Generator(np.random.Philox(0))
    inputs = {
        n: item.feed(rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)) for n in batches
    }
    for batch in inputs.values():
        finite(item.runner.run(batch), f"logits of {entry.key}")
    after = telemetry.rss_bytes()
    return Loaded(entry, item, inputs, None if before is None or after is None else after - before)


def kernel_profile(loaded: Loaded, options: Mapping[str, Any]) -> KernelProfile:
    """Which kernels ran, by the engine's own account: onnxruntime's profile, or TensorRT's layers.

    Raises: BackendError: the engine refuses the model.
    """
    item, key = loaded.classifier, loaded.entry.key
    runner: Any = item.runner
    states = tuple(getattr(runner, "states", ()))
    if item.backend != "onnxruntime":
        states = tuple(f"{key}: {text}" for text in states)
        return KernelProfile(dict(getattr(runner, "kernels", {})), None, states)
    placed = {name: options[name] for name in ("provider", "provider_options") if name in options}
    nodes = executed(loaded.entry.file, item.spec.size, **placed)
    kernels = dict(sorted(Counter(node.kernel for node in nodes).items()))
    by_provider = runner.nodes or dict(sorted(Counter(node.provider for node in nodes).items()))
    own = sum(node.provider == runner.provider for node in nodes)
    if by_provider.get(runner.provider, 0) > own:
        inside = f"{by_provider[runner.provider]} nodes into {own}, whose kernels cannot be counted"
        states += (f"{key}: {runner.provider} compiles {inside}",)
    return KernelProfile(kernels, by_provider, states)


def _teacher(path: Path, backend: str) -> Entry:
    if path.is_dir():
        bundle = open_bundle(path)
        file = bundle.model("auto")
        where = (TEACHER, TEACHER, path, bundle.default, file, sha256_of(file))
        return Entry(*where, backend=backend)
    if path.suffix != ".onnx" or not path.is_file():
        expected = "a bundle folder, or a .onnx file that describes itself"
        remedy = "compress export --teacher writes such a bundle"
        raise BundleError("teacher", got=path, expected=expected, remedy=remedy)
    return Entry(TEACHER, TEACHER, path, "auto", path, sha256_of(path), backend=backend)

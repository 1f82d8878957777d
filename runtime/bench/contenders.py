"""Who takes part in a bench: a bundle's models, its teacher, and the images that they are shown."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime import golden
from runtime.backends import backend as backend_row
from runtime.backends.onnxruntime import executed
from runtime.bundle import GOLDEN, MANIFEST, Bundle, open_bundle, sha256_of
from runtime.classifier import Classifier
from runtime.errors import BundleError, ImageError
from runtime.host import telemetry
from runtime.preprocess import decode

TEACHER = "teacher"
MAX_PHOTOS = 64
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif"}
)
PLAIN_SIZE = (640, 480)  # of the photo that is made where there is none


@dataclass(frozen=True)
class Contender:
    """A model that is timed.

    Attributes:
        key: its name among the others: its precision, or "teacher".
        model: what a row calls it: the bundle's folder, or "teacher".
        source: what ``Classifier.load`` takes.
        precision: the model in it.
        file: its file.
        sha256: of its file.
        wanted: whether the user named it, so that its failure is an error and not a state.
    """

    key: str
    model: str
    source: Path
    precision: str
    file: Path
    sha256: str
    wanted: bool = True


@dataclass(frozen=True)
class Loaded:
    """A contender in memory.

    Attributes:
        batches: images per call -> an input for ``classifier.runner.run``.
        resident_bytes: growth of this process by loading and the first image.
    """

    contender: Contender
    classifier: Classifier
    batches: dict[int, np.ndarray]
    resident_bytes: int | None

    @property
    def unit(self) -> str:
        """ "cpu" or "gpu": whose clock and power its work shows in."""
        return str(
            getattr(
                self.classifier.runner,
                "unit",
                "cpu" if self.classifier.backend == "onnxruntime" else "gpu",
            )
        )


@dataclass(frozen=True)
class Evidence:
    """What ran: kernel -> nodes, provider -> nodes, and what could not be told."""

    kernels: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, int] | None = None
    states: tuple[str, ...] = ()


def contenders(
    bundle: Bundle,
    models: Sequence[str] | None,
    teacher: str | Path | None,
    backend: str = "onnxruntime",
) -> list[Contender]:
    """The bundle's ``models`` in their order, and the teacher last.

    Without ``models`` every plain precision is taken: variants such as "fp32.batch1" only where
        they are named.

    Raises:
        BundleError: no such model, or a teacher that is neither a bundle nor a self-describing
            file.
    """
    names = list(models) if models else [name for name in bundle.models if "." not in name]
    aliases = backend_row(backend).models
    keys = dict.fromkeys(aliases.get(name, name) for name in names)
    own = bundle.path.resolve().name
    folder = "student" if teacher is not None and own == TEACHER else own
    files = [(key, bundle.model(key)) for key in keys]
    out = [
        Contender(key, folder, bundle.path, key, file, sha256_of(file), bool(models))
        for key, file in files
    ]
    return out + ([] if teacher is None else [_teacher(Path(teacher))])


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """Name, SHA-256 of the manifest, and the default model."""
    return {
        "name": bundle.path.resolve().name,
        "manifest_sha256": sha256_of(bundle.path / MANIFEST),
        "default": bundle.default,
    }


def teacher_facts(teacher: str | Path) -> dict[str, Any]:
    """``bundle_facts`` of a folder; of a file its name and SHA-256."""
    path = Path(teacher)
    return (
        bundle_facts(open_bundle(path, verify=False))
        if path.is_dir()
        else {"name": path.name, "file_sha256": sha256_of(path)}
    )


def load(
    contender: Contender,
    batches: Sequence[int],
    threads: int | None,
    backend: str,
    options: Mapping[str, Any],
) -> Loaded:
    """Loads a contender and runs it once on every batch.

    Raises:
        BundleError, BackendError: as ``Classifier.load``, or the engine refuses a batch.
    """
    with suppress(ImportError):
        import_module(
            backend
        )  # the engine's own library is no model's growth; load() says it if it is absent
    before = telemetry.rss_bytes()
    item = Classifier.load(
        contender.source, contender.precision, backend, threads, verify=False, **options
    )
    size, rng = item.spec.size, np.random.Generator(np.random.Philox(0))
    inputs = {
        n: item.feed(rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)) for n in batches
    }
    for batch in inputs.values():
        item.runner.run(batch)
    after = telemetry.rss_bytes()
    return Loaded(
        contender, item, inputs, None if before is None or after is None else after - before
    )


def evidence(loaded: Loaded, options: Mapping[str, Any]) -> Evidence:
    """Which kernels ran, by the engine's own account: onnxruntime's profile, or TensorRT's layers.

    Raises:
        BackendError: the engine refuses the model.
    """
    item = loaded.classifier
    runner: Any = item.runner
    told = tuple(getattr(runner, "states", ()))
    if item.backend != "onnxruntime":
        named = tuple(f"{loaded.contender.key}: {text}" for text in told)
        return Evidence(dict(getattr(runner, "kernels", {})), None, named)
    chosen = {name: options[name] for name in ("provider", "provider_options") if name in options}
    nodes = executed(loaded.contender.file, item.spec.size, **chosen)
    kernels = dict(sorted(Counter(node.kernel for node in nodes).items()))
    by_provider = runner.nodes or dict(sorted(Counter(node.provider for node in nodes).items()))
    own = sum(node.provider == runner.provider for node in nodes)
    if by_provider.get(runner.provider, 0) > own:
        inside = f"{by_provider[runner.provider]} nodes into {own}, whose kernels cannot be counted"
        told += (f"{loaded.contender.key}: {runner.provider} compiles {inside}",)
    return Evidence(kernels, by_provider, told)


def photos(bundle: Bundle, images: str | Path | None = None) -> tuple[list[bytes], str]:
    """Encoded images for the end-to-end rows, and what they are.

    Args:
        images: a file or a folder (its first ``MAX_PHOTOS`` by name); default: the first golden
            image, as JPEG.

    Raises:
        ImageError: no image there, or one that cannot be decoded.
    """
    if images is None:
        return _own_photo(bundle)
    path = Path(images)
    files = (
        sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if path.is_dir()
        else [path]
    )
    if not files:
        raise ImageError(
            f"no image in {path}", expected=f"files that end in {', '.join(sorted(SUFFIXES))}"
        )
    found = []
    for file in files[:MAX_PHOTOS]:
        try:
            found.append(file.read_bytes())
            decode(found[-1])
        except OSError as error:
            raise ImageError(f"cannot open {file}", got=error.strerror or error) from error
        except ImageError as error:
            raise ImageError(f"{file} cannot be decoded", got=error) from error
    about = _describe(found[0])
    return found, about if len(found) == 1 else f"{len(found)} images, the first {about}"


def _teacher(path: Path) -> Contender:
    if path.is_dir():
        bundle = open_bundle(path)
        file = bundle.model("auto")
        return Contender(TEACHER, TEACHER, path, bundle.default, file, sha256_of(file))
    if path.suffix != ".onnx" or not path.is_file():
        raise BundleError(
            "teacher",
            got=path,
            expected="a bundle folder, or a .onnx file that describes itself",
            remedy="compress export --teacher writes such a bundle",
        )
    return Contender(TEACHER, TEACHER, path, "auto", path, sha256_of(path))


def _own_photo(bundle: Bundle) -> tuple[list[bytes], str]:
    if GOLDEN not in bundle.manifest["files"]:
        noise = np.random.Generator(np.random.Philox(0)).integers(
            0, 256, (60, 80, 3), dtype=np.uint8
        )
        photo = _jpeg(Image.fromarray(noise).resize(PLAIN_SIZE))
        return [photo], f"{_describe(photo)}, made up"
    first = golden.read(bundle.path / GOLDEN)["img_0"].tobytes()
    if _format(first) == "JPEG":
        return [first], f"{_describe(first)}, golden image"
    photo = _jpeg(decode(first))
    return [photo], f"{_describe(photo)}, made of a golden image"


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _format(photo: bytes) -> str:
    with Image.open(io.BytesIO(photo)) as image:
        return image.format or "unknown"


def _describe(photo: bytes) -> str:
    with Image.open(io.BytesIO(photo)) as image:
        return f"{image.width} x {image.height} {image.format}, {len(photo) / 1024:.0f} kB"

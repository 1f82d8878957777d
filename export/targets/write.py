"""Adds targets to a bundle: made, checked, verified in a folder of their own, then moved in; the
manifest goes last.

A killed export leaves a valid bundle. New files are not in the manifest until it is replaced; a
target that is made again is taken out of the manifest before its file changes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from compress.engine.errors import ExportError
from export.bundle.huggingface import write_twins
from export.bundle.write import write_json
from export.onnx.convert import save
from export.targets import half, parity, table
from export.targets.ort_format import OPERATORS_SUFFIX, required_operators, save_ort
from export.targets.pictures import Pictures, gather
from export.targets.scan import TensorRange, scan
from export.targets.shapes import infer, require_whole
from runtime import golden
from runtime.backends import Runner
from runtime.bundle import GOLDEN, MANIFEST, SCHEMA, TWINS, Bundle, open_bundle, sha256_of
from runtime.classifier import META_PRECISION
from runtime.errors import BackendError
from runtime.golden import TARGETS_GOLDEN

VERIFIED, UNVERIFIED = "verified", "unverified"


@dataclass
class _Made:
    """A target that lies in the scratch folder."""

    target: table.Target
    row: dict[str, Any]
    files: list[Path] = field(default_factory=list)


def export_targets(
    bundle: str | Path,
    names: Sequence[str],
    *,
    out: str | Path | None = None,
    opset: int | None = None,
    ir: int | None = None,
    images: str | Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Makes the targets ``names`` from a bundle and adds them to it, or to a copy of it in ``out``.

    Args:
        names: see export/targets/table.py, e.g. ``fp16``, ``int8.u8in``, ``fp32.batch1``.
        opset, ir: further forms of every target.
        images: a folder of images to verify on, besides the bundle's own.

    Returns:
        key -> row of ``manifest["targets"]``: file, state, why, parity.

    Raises:
        ExportError: an unknown target, a graph that a form does not fit, or ``out`` exists.
        ParityError: a target computes something else; nothing was written.
        BundleError: the bundle is damaged.
    """
    opened = open_bundle(bundle)
    builders = [name for name in names if name in table.BUILDERS]
    targets = {
        t.key: t
        for t in (table.parse(name, opset, ir) for name in names if name not in table.BUILDERS)
    }
    if not names:
        raise ExportError(
            "no target",
            expected="at least one --to",
            remedy=f"one of: {', '.join(table.examples())}",
        )
    goal = Path(out) if out is not None else opened.path
    if out is not None and goal.exists():
        raise ExportError(
            f"{goal} exists already", expected="a new folder", remedy="choose another --out"
        )
    with _beside(goal) as scratch:
        made, rows = _make_all(
            opened, list(targets.values()), scratch, Path(images) if images else None
        )
        if out is None:
            _install(opened.path, made)
        else:
            whole = scratch / "bundle"
            _copy(opened, whole)
            _install(whole, made)
            os.replace(whole, goal)
    for name in builders:
        module, _, function = table.BUILDERS[name].partition(":")
        rows.update(getattr(import_module(module), function)(goal))
    return rows


def _make_all(
    opened: Bundle, targets: list[table.Target], scratch: Path, folder: Path | None
) -> tuple[list[_Made], dict[str, dict[str, Any]]]:
    if not targets:
        return [], {}
    pictures = gather(opened, folder)
    sources: dict[str, Runner] = {}
    made = []
    for target in targets:
        source = table.BASES[target.base].source
        if source not in opened.models:
            raise ExportError(
                f"target {target.key} is made from {source}",
                got=f"a bundle of {', '.join(opened.models)}",
                expected=f"a bundle with {source}",
            )
        if source not in sources:
            sources[source] = parity.load(opened.model(source))
        made.append(_make(opened, target, pictures, source, sources[source], scratch))
    return made, {one.target.key: one.row for one in made}


def _make(
    opened: Bundle,
    target: table.Target,
    pictures: Pictures,
    source_key: str,
    source: Runner,
    scratch: Path,
) -> _Made:
    """One target in ``scratch``: written, checked by ONNX, verified."""
    spec = opened.preprocess
    original = require_whole(
        onnx.load(str(opened.model(source_key)), load_external_data=False), source_key
    )

    def ranges(model: ModelProto) -> dict[str, TensorRange]:
        tensor = pictures.normalized(spec)
        return scan(model, (tensor[start : start + 1] for start in range(len(tensor))))

    model, report = table.make(target, original, spec, ranges)
    _describe(model, target.key)
    infer(model)  # strict: what it makes is not needed, that it can be made is
    file = scratch / target.file
    plain = save(model, scratch / "onnx" / target.file if target.is_ort else file)
    files = [file]
    if target.is_ort:
        save_ort(plain, file)
        files.append(required_operators(file, file.with_name(f"{file.stem}{OPERATORS_SUFFIX}")))
    state, why, found = _verify(target, model, file, pictures, source_key, source, opened, scratch)
    row: dict[str, Any] = {
        "file": file.name,
        "state": state,
        "why": "; ".join([why, *target.notes]),
        "parity": None if found is None else found.to_json(),
    }
    if report is not None:
        row["half"] = report.to_json()
    if pictures.skipped:
        row["unreadable_images"] = len(pictures.skipped)
    return _Made(target, row, files)


def _verify(
    target: table.Target,
    model: ModelProto,
    file: Path,
    pictures: Pictures,
    source_key: str,
    source: Runner,
    opened: Bundle,
    scratch: Path,
) -> tuple[str, str, parity.TargetParity | None]:
    """State, reason and parity: by onnxruntime, else by onnx's reference evaluator, else
    unverified.
    """
    spec, share = opened.preprocess, table.BASES[target.base].share
    rounding, found = "", None
    if table.BASES[target.base].half and not target.takes_image:
        found, rounding = _with_rounding(
            target, model, pictures, source_key, source, opened, scratch
        )
    try:
        runner = parity.load(file)
    except BackendError as error:
        refusal = str(error.got or error.what)
        return _verify_without_engine(
            target, model, pictures, source_key, source, opened, refusal, rounding, found
        )
    engine = f"onnxruntime {runner.versions['onnxruntime']} {runner.provider}"
    if target.takes_image:
        ran = parity.whole_images(
            target.key, runner, model, source_key, source, pictures, spec, share, engine
        )
    else:
        ran = parity.against_source(
            target.key, runner, source_key, source, pictures, spec, share, engine
        )
    why = (
        f"{_likeness(ran)} {source_key} on {ran.images} images ({ran.images_from}), run by "
        f"{engine}{rounding}"
    )
    return VERIFIED, why, found or ran


def _with_rounding(
    target: table.Target,
    model: ModelProto,
    pictures: Pictures,
    source_key: str,
    source: Runner,
    opened: Bundle,
    scratch: Path,
) -> tuple[parity.TargetParity, str]:
    """Parity of the graph with every half tensor rounded: an engine that computes in float32 would
    hide an overflow.
    """
    base = table.BASES[target.base]
    runner = parity.load(
        save(half.emulated(model), scratch / "rounded" / target.file.replace(".ort", ".onnx"))
    )
    engine = (
        f"onnxruntime {runner.versions['onnxruntime']} in float32, every {base.half} tensor rounded"
    )
    found = parity.against_source(
        target.key, runner, source_key, source, pictures, opened.preprocess, base.share, engine
    )
    return found, f", and with every {base.half} tensor rounded (parity is of that run)"


def _verify_without_engine(
    target: table.Target,
    model: ModelProto,
    pictures: Pictures,
    source_key: str,
    source: Runner,
    opened: Bundle,
    refusal: str,
    rounding: str,
    found: parity.TargetParity | None,
) -> tuple[str, str, parity.TargetParity | None]:
    spec, share = opened.preprocess, table.BASES[target.base].share
    also = f"; the same as {source_key} in float32{rounding}" if found else ""
    if target.is_ort or target.takes_image:
        return UNVERIFIED, f"unverified here: {refusal}; no other engine reads it{also}", found
    try:
        ran = parity.with_reference_evaluator(
            target.key, model, source_key, source, pictures, spec, share
        )
    except ExportError:  # it ran, and computes something else
        raise
    except (
        Exception
    ) as error:  # the evaluator has no exception of its own for an operator that it lacks in a type
        reason = (
            f"{refusal}; onnx's reference evaluator: {type(error).__name__} {str(error)[:100]}"
        ).rstrip()
        return UNVERIFIED, f"unverified here: {reason}{also}", found
    why = (
        f"the same as {source_key} on {ran.images} images ({ran.images_from}), run by "
        f"{ran.engine}{rounding}"
    )
    return VERIFIED, f"{why}; no engine here runs it: {refusal}", found or ran


def _likeness(found: parity.TargetParity) -> str:
    if found.pixel_max is None:
        return "the same as"
    pixels = f"pixels at most {found.pixel_max:.0f}/255 apart (mean {found.pixel_mean:.2g})"
    return f"{pixels} and {found.agreement:.1%} the same labels as the reference preprocessing with"


def _describe(model: ModelProto, key: str) -> None:
    """States the target's name in the metadata; labels and preprocessing stay as they were."""
    kept = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:], model.graph.value_info[:]
    for name, value in sorted({**kept, META_PRECISION: key}.items()):
        model.metadata_props.add(key=name, value=value)


def _install(folder: Path, made: list[_Made]) -> None:
    """Moves the files of ``made`` into the bundle; the manifest lists a file only when it is
    complete.
    """
    opened = open_bundle(folder, verify=False)
    manifest = {
        **opened.manifest,
        "targets": opened.targets,
        "files": dict(opened.manifest["files"]),
    }
    manifest["schema"] = max(int(manifest["schema"]), SCHEMA)
    twins = _twins(opened, made)
    gone = [name for one in made for name in _files_of(one.target.file)] + [
        TARGETS_GOLDEN,
        *(TWINS[key] for key in twins),
    ]
    for one in made:
        manifest["targets"].pop(one.target.key, None)
    if [name for name in gone if manifest["files"].pop(name, None)]:
        write_json(folder / MANIFEST, manifest)
    for one in made:
        for file in one.files:
            os.replace(file, folder / file.name)
            manifest["files"][file.name] = _entry(folder / file.name)
        manifest["targets"][one.target.key] = one.row
    for twin in write_twins(folder, {key: folder / file for key, file in twins.items()}).values():
        manifest["files"][twin.relative_to(folder).as_posix()] = _entry(twin)
    if _write_golden(folder, opened, manifest["targets"]):
        manifest["files"][TARGETS_GOLDEN] = _entry(folder / TARGETS_GOLDEN)
    write_json(folder / MANIFEST, manifest)
    open_bundle(folder)


def _twins(opened: Bundle, made: list[_Made]) -> dict[str, str]:
    """Target key -> file, of those that Hugging Face's loaders have a name for, where the bundle
    serves them at all.
    """
    if not opened.twins:
        return {}
    files = {one.target.key: one.target.file for one in made}
    return {key: file for key, file in files.items() if key in TWINS and key not in opened.models}


def _files_of(name: str) -> list[str]:
    """The model file and what lies beside it."""
    return [name, f"{Path(name).stem}{OPERATORS_SUFFIX}"] if name.endswith(".ort") else [name]


def _entry(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_of(file)}


def _write_golden(folder: Path, opened: Bundle, targets: dict[str, dict[str, Any]]) -> bool:
    """Golden logits of every target that onnxruntime runs, on the bundle's golden images; False
    where there are none.
    """
    if GOLDEN not in opened.manifest["files"]:
        return False
    vectors = golden.read(folder / GOLDEN)
    arrays = {}
    for key, row in sorted(targets.items()):
        with contextlib.suppress(BackendError):  # an unverified target: its row says why
            arrays[f"logits.{key}"] = golden.logits_of(
                parity.load(folder / row["file"]), vectors, opened.preprocess
            )
    temporary = folder / f".{TARGETS_GOLDEN}.part"
    golden.write(temporary, arrays)
    os.replace(temporary, folder / TARGETS_GOLDEN)
    return True


def _copy(opened: Bundle, target: Path) -> None:
    for name in [*opened.manifest["files"], MANIFEST]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(opened.path / name, target / name)


@contextlib.contextmanager
def _beside(goal: Path) -> Iterator[Path]:
    """A scratch folder on the same file system as ``goal``, removed afterwards."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(
        tempfile.mkdtemp(prefix=f".{goal.resolve().name}.export-", dir=goal.resolve().parent)
    )
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

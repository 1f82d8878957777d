"""Adds targets to a bundle: written and verified in a scratch folder, then moved; manifest last.

A killed export leaves a valid bundle. New files are not in the manifest until it is replaced; a
target that is written again leaves the manifest before its file changes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from compress.engine.disk import require_folder
from compress.engine.errors import ExportError
from compress.engine.text import user_path
from export.bundle.folder import copy_bundle, held, require_new, scratch_beside
from export.bundle.huggingface import write_twins
from export.bundle.write import file_entry
from export.engines.table import FORMATS
from export.onnx.convert import save
from export.targets import parity, table
from export.targets.ort_format import required_operators, save_ort
from export.targets.parity import SourceModel
from export.targets.pictures import gather
from export.targets.scan import TensorRange, scan
from export.targets.shapes import infer, require_whole
from export.targets.table import BASES, ENGINES, EXAMPLES, Row, Target
from export.targets.verify import verify
from runtime import golden
from runtime.bundle import GOLDEN, TWINS, Bundle, open_bundle
from runtime.classifier import META_PRECISION
from runtime.errors import BackendError
from runtime.files.atomic import atomic
from runtime.files.manifest import schema_of, write_manifest
from runtime.golden import TARGETS_GOLDEN


@dataclass(frozen=True)
class WrittenTarget:
    """A target in the scratch folder, with its row of the manifest."""

    target: Target
    row: Row
    files: tuple[Path, ...]


def export_targets(
    bundle: str | Path,
    names: Sequence[str],
    *,
    out: str | Path | None = None,
    opset: int | None = None,
    ir: int | None = None,
    images: str | Path | None = None,
    converter_env: str | Path | None = None,
) -> dict[str, Row]:
    """Adds the targets ``names`` to a bundle, or to a copy of it in ``out``.

    Args:
        names: see export/targets/table.py, e.g. ``fp16``, ``int8.u8in``, ``fp32.batch1``.
        opset, ir: further modifiers of every target.
        images: a folder of images to verify on, besides the bundle's own.
        converter_env: the Python environment of a format's converter, where it needs its own.

    Returns: key -> row of ``manifest["targets"]``: file, state, why, parity.

    Raises:
        ExportError: an unknown target, a modifier that the graph does not allow, or ``out`` exists.
        ParityError: a target computes something else; nothing was written.
        BundleError: the bundle is damaged.
        StoreError: another process changes the bundle.
    """
    opened = open_bundle(bundle, verify=False)
    parsed = [table.parse(name, opset, ir) for name in names if name not in ENGINES]
    targets = {target.key: target for target in parsed}
    if not names:
        raise ExportError("no target", remedy=f"--to one of: {', '.join(EXAMPLES)}")
    goal = opened.path if out is None else Path(os.path.realpath(user_path(out)))
    if out is not None:
        require_new(goal, "choose another --out")
    require_folder(goal)
    with held(goal), scratch_beside(goal) as scratch:
        opened = open_bundle(bundle)  # as it is from now on
        env = Path(os.path.abspath(user_path(converter_env))) if converter_env else None
        folder = Path(images) if images else None
        written = _write_all(opened, targets.values(), scratch, folder, env)
        if out is None:
            _install(opened.path, written)
        else:
            whole = scratch / "whole"
            copy_bundle(opened, whole)
            _install(whole, written)
            os.replace(whole, goal)
        rows = {one.target.key: one.row for one in written}
        for name in names:
            if name in ENGINES:
                rows.update(ENGINES[name](goal))
    return rows


def _write_all(
    opened: Bundle,
    targets: Collection[Target],
    scratch: Path,
    folder: Path | None,
    environment: Path | None,
) -> list[WrittenTarget]:
    if not targets:
        return []
    pictures = gather(opened, folder)
    sources: dict[str, SourceModel] = {}
    written = []
    for target in targets:
        key = BASES[target.base].source
        if key not in opened.models:
            got = f"a bundle of {', '.join(opened.models)}"
            raise ExportError(f"target {target.key} needs {key} in the bundle", got=got)
        if key not in sources:
            runner = parity.load(opened.model(key))
            sources[key] = SourceModel(key, runner, pictures, opened.preprocess)
        file = opened.model(key)
        written.append(_write_target(file, target, sources[key], scratch, environment))
    return written


def _write_target(
    source_file: Path, target: Target, source: SourceModel, scratch: Path, environment: Path | None
) -> WrittenTarget:
    loaded = onnx.load(str(source_file), load_external_data=False)
    original = require_whole(loaded, source.key)

    def ranges(model: ModelProto) -> dict[str, TensorRange]:
        tensor = source.pictures.normalized(source.spec)
        return scan(model, (tensor[start : start + 1] for start in range(len(tensor))))

    model, report = table.make(target, original, source.spec, ranges)
    # The metadata state the target's name; labels and preprocessing stay as they were.
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:], model.graph.value_info[:]
    for key, value in sorted({**metadata, META_PRECISION: target.key}.items()):
        model.metadata_props.add(key=key, value=value)
    infer(model)  # raises for a graph that contradicts itself
    file = scratch / target.file
    files = [file]
    if target.format:
        files = list(FORMATS[target.format].write(model, file, target.base, environment))
    elif target.is_ort:
        save_ort(save(model, scratch / "onnx" / target.file), file)
        files.append(required_operators(file))
    else:
        save(model, file)
    verdict = verify(target, model, file, source, scratch)
    row: Row = {
        "file": file.name,
        "state": verdict.state,
        "why": "; ".join([verdict.why, *target.notes]),
        "parity": None if verdict.parity is None else asdict(verdict.parity),
    }
    if verdict.kernels:
        row["kernels"] = verdict.kernels
    if report is not None:
        row["half"] = asdict(report)
    if source.pictures.skipped:
        row["unreadable_images"] = len(source.pictures.skipped)
    return WrittenTarget(target, row, tuple(files))


def _install(folder: Path, written: Sequence[WrittenTarget]) -> None:
    """Moves files into the bundle; the manifest lists a file only when it is complete."""
    opened = open_bundle(folder, verify=False)
    targets = opened.targets
    files = dict(opened.manifest["files"])
    names = [*files, *(file.name for one in written for file in one.files)]
    schema = max(int(opened.manifest["schema"]), schema_of(names))
    manifest = {**opened.manifest, "schema": schema, "targets": targets, "files": files}
    # Hugging Face's loaders read some targets, if the bundle serves them.
    served = TWINS.keys() - opened.models.keys() if opened.twins else set()
    twins = {one.target.key: one.target.file for one in written if one.target.key in served}
    stale = [TARGETS_GOLDEN, *(TWINS[key] for key in twins)]
    for one in written:
        targets.pop(one.target.key, None)
        stale += [file.name for file in one.files]
    if [name for name in stale if files.pop(name, None)]:
        write_manifest(folder, manifest)
    for one in written:
        for file in one.files:
            os.replace(file, folder / file.name)
            files[file.name] = file_entry(folder / file.name)
        targets[one.target.key] = one.row
    for twin in write_twins(folder, {key: folder / file for key, file in twins.items()}).values():
        files[twin.relative_to(folder).as_posix()] = file_entry(twin)
    if _write_golden(folder, opened, targets):
        files[TARGETS_GOLDEN] = file_entry(folder / TARGETS_GOLDEN)
    write_manifest(folder, manifest)
    open_bundle(folder)


def _write_golden(
    folder: Path, opened: Bundle, targets: Mapping[str, Mapping[str, object]]
) -> bool:
    """Writes golden logits of every target that an engine here runs; False without images."""
    if GOLDEN not in opened.manifest["files"]:
        return False
    vectors = golden.read(folder / GOLDEN)
    arrays: dict[str, NDArray[np.float32]] = {}
    for key, row in sorted(targets.items()):
        with contextlib.suppress(BackendError):  # an unverified target: its row gives the reason
            runner = parity.load(folder / str(row["file"]))
            outputs = golden.outputs_of(runner, vectors, opened.preprocess)
            arrays |= {f"{name}.{key}": table for name, table in outputs.items()}
    with atomic(folder / TARGETS_GOLDEN) as temporary:
        golden.write(temporary, arrays)
    return True

"""Adds the chosen variant to a run's bundle, if it beats int8 and fp32."""

from __future__ import annotations

from dataclasses import asdict

from compress.engine.errors import ExportError
from compress.engine.runs import RunFolder
from compress.engine.stage import StageContext
from export.bundle.files import MIXED, model_file
from export.bundle.folder import held
from export.bundle.publish import WAIT_S
from export.bundle.write import copy_with_metadata, seal
from export.onnx.parity import compare, require, torch_logits
from export.sensitivity.result import Addition, SensitivityResult
from export.sensitivity.variants import FloatBlocks, Variants
from export.targets.verify import VERIFIED
from runtime import golden, normalize
from runtime.backends import load as load_model
from runtime.bundle import GOLDEN, open_bundle
from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS, META_TEMPERATURE
from runtime.files.added import ADDED
from runtime.files.confidence import CONFIDENCE
from runtime.files.onnx import check

FILE = model_file(MIXED)
PARITY_IMAGES = 64


def reason_against(result: SensitivityResult) -> str | None:
    """Why the choice is not added to the bundle; None if it beats int8 and fp32 beyond the noise.

    An int8 that may not ship need not be beaten.
    """
    names = result.chosen.float_blocks
    if not names or len(names) == len(result.blocks):
        return f"the choice is {'fp32' if names else 'int8'}, which the bundle holds already"
    int8 = next(variant for variant in result.candidates if not variant.float_blocks)
    rivals = ("int8", "fp32") if int8.passes else ("fp32",)
    close = [name for name in rivals if result.speedups[f"chosen_vs_{name}"].ci95[0] <= 1.0]
    return f"it is not faster than {' and '.join(close)} beyond the noise" if close else None


def add_mixed(
    ctx: StageContext, variants: Variants, names: FloatBlocks, result: SensitivityResult
) -> Addition:
    """Adds the variant's file with golden logits and a manifest row, as the bundle's default.

    Raises:
        ExportError: the run has no bundle.
        ParityError: the file does not compute what its torch model does.
    """
    against = reason_against(result)
    if against is not None:
        return Addition(False, against)
    folder = RunFolder(ctx.folder).bundle
    if not folder.is_dir():
        raise ExportError("this run has no bundle", got=folder, remedy="compress build makes it")
    if ADDED in open_bundle(folder, verify=False).manifest:
        return Addition(False, "the bundle has classes that were added: add them after it")
    images = normalize(variants.views.pixels[:PARITY_IMAGES], variants.spec)
    source = variants.file(names)
    reference = torch_logits(variants.reference(names), images)
    parity = require(compare(source, reference, images, precision="int8"))

    with held(folder, WAIT_S):
        bundle = open_bundle(folder)
        described = check(bundle.models["int8"]).metadata
        keys = (META_LABELS, META_PREPROCESS, META_TEMPERATURE)
        carried = {key: described[key] for key in keys if key in described}
        copy_with_metadata(source, folder / FILE, {**carried, META_PRECISION: MIXED})
        if (folder / GOLDEN).exists():
            arrays = golden.read(folder / GOLDEN)
            runner = load_model("onnxruntime", folder / FILE, threads=1)
            outputs = golden.outputs_of(runner, arrays, variants.spec)
            made = {f"{name}.{MIXED}": table for name, table in outputs.items()}
            golden.write(folder / GOLDEN, {**arrays, **made})
        what = f"int8 but for {', '.join(variants.ordered(names))}, which stay in float"
        reason = f"{what}: faster than all in int8 and all in float where compress sensitivity ran"
        numbers = {**asdict(parity), "file": FILE}
        row = {"file": FILE, "state": VERIFIED, "why": what, "parity": numbers}
        models = {**bundle.manifest["models"], MIXED: FILE}
        targets = {**bundle.targets, MIXED: row}
        seal(folder, models, MIXED, targets, reason, bundle.manifest.get(CONFIDENCE))
    return Addition(True, what, FILE, (folder / FILE).stat().st_size, numbers)

"""Stage "bench": the exported files on this machine. What they know, how fast they are, and which
one ships here.

    accuracy.json     per form: top-1, interval, macro-F1, ECE, per class, confusion, reliability;
                      paired comparisons; what changed between two forms, by class and by image;
                      top-1 and interval per domain, and their mean, where further domains are
                      tested
    predictions.npz   labels (N,) and the logits (N, K) of every form, float32
    latency.json      rows with quantiles and energy, speed-ups with intervals, where an image's
                      time goes, cold starts, the kernels that ran, the host

A *form* is a model in one precision: ``teacher``, ``teacher_zero_shot``, ``student_fp32``,
    ``student_int8``, ...
Nothing here touches torch: accuracy is what the files give in the runtime that ships.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.data.testsets import TEST, TestSets
from compress.engine.errors import ParityError
from compress.engine.stage import StageContext
from compress.engine.store import Artifact, write_json
from compress.evaluate.changes import changes
from compress.evaluate.comparison import paired
from compress.evaluate.gates import decide
from compress.evaluate.metrics import evaluate
from runtime import Classifier, PreprocessSpec, normalize
from runtime.backends import BACKENDS
from runtime.backends import load as load_model
from runtime.backends.onnxruntime import quantized_kernels
from runtime.bench import latency
from runtime.bench.breakdown import break_down
from runtime.bench.cold import measure_cold
from runtime.bench.latency import COMPUTE, END_TO_END
from runtime.bench.run import NO_SENSOR
from runtime.host import sensors, telemetry
from runtime.host.energy import idle_watts, measure_energy

# images between two saved parts of a form's logits: a killed bench of a large teacher resumes there
CHUNK = 512
BATCH = 32  # images in one call
CHECKED_IMAGES = 8  # test images that go through predict() as encoded files
NOT_TIMED = frozenset(
    {"student_int8_trt"}
)  # made for TensorRT: onnxruntime runs it for its accuracy only
SHIPPING = ("student_fp32", "student_int8")
ELSEWHERE = frozenset(
    {"teacher", "teacher_zero_shot", *SHIPPING}
)  # forms that further domains are tested with
DOMAIN_METRICS = ("n", "top1", "ci95")
PAIRS = {  # name -> (first, second): the report says first minus second
    "int8_vs_fp32": ("student_int8", "student_fp32"),
    "fp32_vs_teacher": ("student_fp32", "teacher"),
    "int8_vs_teacher": ("student_int8", "teacher"),
    "int8_vs_ptq": ("student_int8", "student_ptq"),
    "teacher_vs_zero_shot": ("teacher", "teacher_zero_shot"),
}
CHANGES = (
    "int8_vs_fp32",
    "fp32_vs_teacher",
    "int8_vs_teacher",
)  # pairs that are followed down to the classes
FLIPS = frozenset({"int8_vs_fp32"})  # pairs whose changed images are listed
NO_TENSORRT = (
    "TensorRT did not run here: onnxruntime ran model.int8.trt.onnx for its "
    "accuracy, and it was not timed"
)
NO_TEST_IMAGES = "no test images: accuracy was not measured"

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Form:
    """A file, and which of its outputs is meant."""

    name: str
    file: Path
    output: str = "logits"


def run(ctx: StageContext) -> dict[str, Any]:
    """Measures every form and decides which file ships.

    Raises:
        ParityError: an encoded image that predict() sees otherwise than the test set was prepared.
        BundleError, BackendError: a file that the runtime refuses.
    """
    forms, spec = forms_of(ctx.inputs["export"]), _student(ctx.inputs["export"], 1).spec
    sets = TestSets(ctx)
    labels, everywhere = sets.labels(TEST), logits_of(ctx, forms, spec, sets)
    logits = everywhere[TEST]
    metrics = {name: evaluate(values, labels) for name, values in logits.items()}
    compared = {
        name: paired(logits[a], logits[b], labels, seed=ctx.seed).plain()
        for name, (a, b) in PAIRS.items()
        if a in logits and b in logits
    }
    write_json(
        ctx.folder / "accuracy.json",
        {
            "forms": metrics,
            "paired": compared,
            "changes": changed(ctx.inputs["data"].path, logits),
            **by_domain(sets, metrics, everywhere),
        },
    )
    arrays: dict[str, Any] = {"labels": labels, **logits}
    np.savez_compressed(ctx.folder / "predictions.npz", **arrays)

    check = check_predict(ctx, spec, logits["student_fp32"]) if logits else None
    measured = measure(ctx, forms, spec)
    write_json(ctx.folder / "latency.json", measured)
    speedup = measured["speedups"].get("student_int8_vs_student_fp32")
    gates, ship = decide(metrics, speedup, measured["kernels"], ctx.settings.bench.precision)
    states = [] if logits else [NO_TEST_IMAGES]
    if any(form.name in NOT_TIMED for form in forms):
        states.append(NO_TENSORRT)
    states += measured["states"]
    ctx.progress.note(ship.reason)
    return {
        "ship": ship.plain(),
        "gates": [gate.plain() for gate in gates],
        "top1": {name: form["top1"] for name, form in metrics.items()},
        "size_bytes": {
            form.name: form.file.stat().st_size for form in forms if form.output == "logits"
        },
        "predict_check": check,
        "states": states,
    }


def forms_of(export: Artifact) -> list[Form]:
    """Every form that the export stage wrote, the teacher first."""
    teacher, baseline = (
        export.path / "teacher" / "model.fp32.onnx",
        export.path / "ptq" / "model.ptq.onnx",
    )
    models: dict[str, str] = _json(export, "bundle/manifest.json")["models"]
    out = [Form("teacher", teacher), Form("teacher_zero_shot", teacher, "zero_shot_logits")]
    out += [
        Form(f"student_{name.replace('.', '_')}", export.path / "bundle" / file)
        for name, file in sorted(models.items())
    ]
    return out + ([Form("student_ptq", baseline)] if baseline.exists() else [])


def load(form: Form, export: Artifact, threads: int) -> Classifier:
    """A form in the runtime. The baseline takes labels and geometry from the bundle."""
    if form.name.startswith("teacher"):
        return Classifier.load(form.file, threads=threads)
    if form.name == "student_ptq":
        student = _student(export, threads)
        runner = load_model("onnxruntime", form.file, threads=threads)
        return Classifier(runner, student.label_rows, student.spec, "ptq", "onnxruntime")
    return _student(export, threads, form.name.removeprefix("student_").replace("_", "."))


def _student(export: Artifact, threads: int, precision: str = "fp32") -> Classifier:
    return Classifier.load(export.path / "bundle", precision, threads=threads)


def logits_of(
    ctx: StageContext, forms: list[Form], student: PreprocessSpec, sets: TestSets
) -> dict[str, dict[str, Logits]]:
    """Logits (N, K) of every form over every test set: set -> form -> logits; nothing for a set
    without images.
    """
    out: dict[str, dict[str, Logits]] = {name: {} for name in sets.names}
    for _, group in groupby(forms, key=lambda form: form.file):
        outputs = list(group)
        classifier = load(outputs[0], ctx.inputs["export"], telemetry.usable_cores())
        for name in sets.names:
            wanted = [form for form in outputs if name == TEST or form.name in ELSEWHERE]
            if wanted and len(sets.images(name)):
                out[name].update(_logits(ctx, wanted, classifier, student, sets, name))
    return out


def _logits(
    ctx: StageContext,
    forms: list[Form],
    classifier: Classifier,
    student: PreprocessSpec,
    sets: TestSets,
    name: str,
) -> dict[str, Logits]:
    """Logits over a test set of all forms of one file, from one pass each image, in parts that
    survive a kill.
    """
    count, outputs = len(sets.images(name)), [form.output for form in forms]
    starts = range(0, count, CHUNK)
    parts = [ctx.partial / f"{name}.{forms[0].name}.{start:08d}.npy" for start in starts]
    done = sum(
        min(CHUNK, count - start)
        for start, part in zip(starts, parts, strict=True)
        if part.exists()
    )
    what = f"{name} {forms[0].name}".replace("_", " ")
    with ctx.progress.task(what, total=count, unit="image", done=done) as task:
        for start, part in zip(starts, parts, strict=True):
            if part.exists():
                continue
            made = []
            for at in range(start, min(start + CHUNK, count), BATCH):
                batch = sets.pixels(
                    name, at, min(at + BATCH, count, start + CHUNK), classifier.spec, student
                )
                ran = classifier.runner.run_all(normalize(batch, classifier.spec), outputs)
                made.append(np.stack([ran[output] for output in outputs]))
                task.advance(len(batch))
            temporary = part.with_suffix(".tmp")
            with temporary.open("wb") as file:
                np.save(file, np.concatenate(made, axis=1), allow_pickle=False)
            os.replace(temporary, part)
    whole = np.concatenate([np.load(part, allow_pickle=False) for part in parts], axis=1)
    return {form.name: values for form, values in zip(forms, whole, strict=True)}


def changed(data: Path, logits: Mapping[str, Logits]) -> dict[str, Any]:
    """What changed between the forms of ``CHANGES``, by class and, for ``FLIPS``, by image;
    JSON-able.

    Args:
        data: the data stage's folder. logits: form -> (N, K) over its test images.
    """
    rows, names = (json.loads((data / file).read_text()) for file in ("test.json", "classes.json"))
    labels, keys = (
        np.asarray([row["label"] for row in rows], np.int64),
        [row["key"] for row in rows],
    )
    pairs = {name: PAIRS[name] for name in CHANGES if set(PAIRS[name]) <= set(logits)}
    return {
        name: changes(
            (a, logits[a]),
            (b, logits[b]),
            labels,
            [entry["name"] for entry in names],
            keys if name in FLIPS else (),
        ).plain()
        for name, (a, b) in pairs.items()
    }


def by_domain(
    sets: TestSets,
    metrics: Mapping[str, Mapping[str, Any]],
    logits: Mapping[str, Mapping[str, Logits]],
) -> dict[str, Any]:
    """Top-1 of every form on every domain, the run's own first, and the means over domains
    (methods.md C.4).

    Args:
        metrics: of the run's own test split. logits: set -> form -> (N, K).

    Returns:
        ``domains`` {domain: {form: n, top1, ci95}}, empty without further domains; ``domain_mean``
        with ``own``, the ``domains`` it covers, ``top1`` {form: mean over all of them} and
        ``top1_others`` {form: mean without the own one}, every domain with the same weight whatever
        its size; None without further domains.
    """
    if not sets.domains or sets.own is None:
        return {"domains": {}, "domain_mean": None}
    found: dict[str, dict[str, Mapping[str, Any]]] = {
        sets.own: {k: v for k, v in metrics.items() if k in ELSEWHERE}
    }
    for name, domain in sets.domains.items():
        labels = sets.labels(name)
        found[domain] = {form: evaluate(values, labels) for form, values in logits[name].items()}
    domains = {
        domain: {form: {key: row[key] for key in DOMAIN_METRICS} for form, row in rows.items()}
        for domain, rows in found.items()
    }

    def mean(over: list[str]) -> dict[str, float]:
        return {
            form: float(np.mean([domains[domain][form]["top1"] for domain in over]))
            for form in domains[over[0]]
        }

    others = [domain for domain in domains if domain != sets.own]
    told = {
        "own": sets.own,
        "domains": list(domains),
        "top1": mean(list(domains)),
        "top1_others": mean(others),
    }
    return {"domains": domains, "domain_mean": told}


def check_predict(ctx: StageContext, spec: PreprocessSpec, expected: Logits) -> dict[str, Any]:
    """Sends a few test images as PNG files through the shipped path, decoding included, and
    compares with the test set.

    Args:
        expected: logits (N, K) of the fp32 student over test.npy.

    Raises:
        ParityError: other pixels, or logits that differ by more than float kernels may.
    """
    classifier, sets = _student(ctx.inputs["export"], 1), TestSets(ctx)
    originals, stored = sets.originals(TEST), sets.images(TEST).pixels
    rows = np.unique(np.linspace(0, len(stored) - 1, min(CHECKED_IMAGES, len(stored))).astype(int))
    files = [_png(originals.image(int(row))) for row in rows]
    pixels = np.abs(classifier.pixels(files).astype(int) - stored[rows])
    difference = float(np.abs(classifier.logits(files) - expected[rows]).max())
    allowed = 1e-3 * float(expected.max() - expected.min())
    if pixels.max() or difference > allowed:
        raise ParityError(
            "predict() does not see what the test set holds",
            got=f"pixels that differ by up to {pixels.max()}/255, logits by up to {difference:.3g}",
            expected=f"equal pixels, logits within {allowed:.3g}",
            remedy="bundle and data stage no longer share their preprocessing: compress "
            "clean, then build again",
        )
    return {"images": len(rows), "pixels_equal": True, "max_abs_logit_difference": difference}


def measure(ctx: StageContext, forms: list[Form], spec: PreprocessSpec) -> dict[str, Any]:
    """Latency of every timed form, interleaved: one image, each number of threads; then end to end
    from a JPEG.

    The first number of threads gets ``bench.seconds``, each further one half, as does the way of an
        encoded image: as a
    whole, step by step, and bare.
    """
    settings, export = ctx.settings.bench, ctx.inputs["export"]
    timed = [form for form in forms if form.output == "logits" and form.name not in NOT_TIMED]
    threads = list(dict.fromkeys((*settings.threads, telemetry.usable_cores())))
    cold = {
        form.name: _cold(form, export, threads[0]) for form in timed if form.name != "student_ptq"
    }
    rows: list[dict[str, Any]] = []
    speedups: dict[str, Any] = {}
    states: list[str] = []
    with ctx.progress.task("latency", total=len(threads) + 1, unit="series") as task:
        for count in threads:
            loaded = {form.name: load(form, export, count) for form in timed}
            calls = {
                name: partial(item.runner.run, _noise(item.spec)) for name, item in loaded.items()
            }
            first = count == threads[0]
            series = latency.measure(calls, settings.seconds if first else settings.seconds / 2)
            started = cold if first else {}
            rows += [
                _row(loaded[name], name, COMPUTE, part, started.get(name))
                for name, part in series.items()
            ]
            if first:
                speedups = _speedups(series, ctx.seed)
                costs, states = energy(calls, settings.seconds / 4)
                rows = [
                    {**row, "energy": costs.get(name)}
                    for row, name in zip(rows, series, strict=True)
                ]
            task.advance()
        students = {
            form.name: load(form, export, threads[0]) for form in timed if form.name in SHIPPING
        }
        photo, about = _photo(ctx, spec)
        broken, series = break_down(students, [photo], settings.seconds / 2)
        rows += [
            {**_row(students[name], name, END_TO_END, part, None), "image": about}
            for name, part in series.items()
        ]
        task.advance()
    ran = quantized_kernels(export.path / "bundle" / "model.int8.onnx", spec.size)
    return {
        "rows": rows,
        "breakdown": {
            name.removeprefix("student_"): vars(found) for name, found in broken.items()
        },
        "speedups": speedups,
        "cold": cold,
        "kernels": {"ran": ran, "is_quantized": BACKENDS["onnxruntime"].is_quantized(ran)},
        "environment": telemetry.host().to_json(),
        "states": states,
    }


def energy(
    calls: Mapping[str, Callable[[], Any]], seconds: float
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What an inference of each form costs, one form after the other; nothing, and why, where no
    sensor can be read.
    """
    sensor = sensors.sensor()
    if sensor is None:
        return {}, sensors.obstacles() or [NO_SENSOR]
    idle = idle_watts(sensor)
    found = {name: measure_energy(call, seconds, sensor, idle=idle) for name, call in calls.items()}
    silent = [
        f"{sensor.source} gave no reading: energy of {name} was not measured"
        for name, e in found.items()
        if not e
    ]
    return {name: vars(cost) for name, cost in found.items() if cost}, silent


def _speedups(series: Mapping[str, latency.Samples], seed: int) -> dict[str, Any]:
    pairs = [("teacher", name) for name in series if name != "teacher"] + [
        ("student_fp32", "student_int8")
    ]
    return {
        f"{fast}_vs_{slow}": latency.ratio(series[slow], series[fast], seed=seed).to_json()
        for slow, fast in pairs
        if slow in series and fast in series
    }


def _row(
    item: Classifier,
    name: str,
    includes: str,
    samples: latency.Samples,
    cold: Mapping[str, Any] | None,
) -> dict[str, Any]:
    model, _, precision = name.partition("_")
    row = latency.row(
        samples,
        model=model,
        precision=precision or item.precision,
        backend=item.backend,
        batch=1,
        threads=item.runner.threads,
        provider=item.runner.provider,
        includes=includes,
        versions=item.runner.versions,
        load_ms=cold["load_ms"] if cold else None,
        first_ms=cold["first_ms"] if cold else None,
    ).to_json()
    memory = cold["peak_rss_bytes"] if cold else None
    return {**row, "quantiles_ms": samples.quantiles_ms(), "peak_rss_bytes": memory}


def _cold(form: Form, export: Artifact, threads: int) -> dict[str, Any]:
    """Load and first image in a process of its own."""
    if form.name == "teacher":
        return vars(measure_cold(form.file, "auto", threads))
    return vars(
        measure_cold(
            export.path / "bundle", form.name.removeprefix("student_").replace("_", "."), threads
        )
    )


def _noise(spec: PreprocessSpec) -> NDArray[np.float32]:
    """One normalized image (1, 3, S, S) of random pixels: the time does not depend on what is in
    it.
    """
    pixels = np.random.Generator(np.random.Philox(0)).integers(
        0, 256, (1, spec.size, spec.size, 3), dtype=np.uint8
    )
    return normalize(pixels, spec)


def _photo(ctx: StageContext, spec: PreprocessSpec) -> tuple[bytes, str]:
    """The image that end-to-end rows decode: the first test image as JPEG, or a random one of the
    student's size.
    """
    sets = TestSets(ctx)
    image = (
        sets.originals(TEST).image(0)
        if len(sets.images(TEST))
        else Image.fromarray(np.full((spec.resize, spec.resize, 3), 128, np.uint8))
    )
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue(), f"JPEG, {image.width} × {image.height}"


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _json(artifact: Artifact, file: str) -> Any:
    return json.loads((artifact.path / file).read_text())

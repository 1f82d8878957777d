"""What each stage has to do: images, teacher calls, model FLOPs and bytes, from settings alone.

Numbers of views and steps come from the functions that the stages themselves use. What no network
computes (decoding photos, augmentation, ONNX files, measurements) has no FLOPs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compress.cost.amounts import Amounts, possible
from compress.cost.counting import TRAINING, Counted, NotCountable
from compress.cost.generators import image_cost
from compress.cost.networks import TeacherCounts, count_student, count_teacher
from compress.cost.published import generator_configs
from compress.cost.units import size as size_words
from compress.data.augment import views_each
from compress.distill.schedule import feature_steps_for, parts_of_batch, stays_frozen, steps_for
from compress.engine.config import GenerateSettings, HostSettings, Settings
from compress.generate.shards import cut, unit_rows
from compress.generate.strategies.table import strategy_row
from compress.label.pools import balanced_views
from compress.quantize.schedule import compared_batches, training_steps
from compress.teacher.loading import each_teacher
from compress.teacher.sources import has_text

CHANNELS = 3  # bytes of a pixel
FLOAT = 4  # bytes of a float32
HALF = 2  # bytes of a float16
CHECKPOINT = 3  # a training's checkpoint: the weights and Adam's two moments
UNKNOWN_TEACHER = "nothing on this disk says what the teacher's network is"
UNKNOWN_STUDENT = "torch cannot count this student by shape alone"
UNKNOWN_GENERATOR = "nothing on this disk says what the generator's networks are"


@dataclass(frozen=True)
class Work:
    """What a stage has to do, whatever it runs on.

    Attributes:
        unit: what ``amount`` counts: "images", "views" or "steps".
        teacher_calls: images that a teacher sees, each teacher's counted.
        flops: of its networks; None where a network is not known.
        bytes: on the disk when it is finished.
        peak_bytes: the most while it is made, finished parts and checkpoints included.
        arithmetic: "fp32", "fp16" or "bf16", where the device has a choice "auto".
        on_cpu: it runs on this machine's cores, whatever ``--device`` says.
        notes: what the figures leave out.
    """

    stage: str
    unit: str
    amount: int
    teacher_calls: int = 0
    flops: int | None = 0
    bytes: int = 0
    peak_bytes: int = 0
    arithmetic: str = "fp32"
    on_cpu: bool = False
    notes: tuple[str, ...] = ()


def data_work(settings: Settings, amounts: Amounts) -> Work:
    """Shots at the edge of the resize, test images at the student's."""
    image = settings.image
    size = amounts.shots * image.resize**2 * CHANNELS
    notes = () if amounts.tests is not None else ("without the test images, not yet counted",)
    size += (amounts.tests or 0) * image.size**2 * CHANNELS
    images = amounts.shots + (amounts.tests or 0)
    return Work("data", "images", images, bytes=size, peak_bytes=size, on_cpu=True, notes=notes)


def teacher_work(settings: Settings, amounts: Amounts) -> Work:
    """Class texts, views of the shots, and the probe that is fitted on them."""
    teacher, classes = settings.teacher, amounts.classes
    most = settings.label.most_views
    images = min(amounts.shots, most)
    views = views_each(images, teacher.probe_views, *settings.label.limits)
    calls = flops = width = 0
    known = True
    notes: list[str] = []
    for one in each_teacher(teacher):
        counts = count_teacher(one.name)
        fits = bool(teacher.probe and teacher.probe_steps and has_text(one.name))
        seen = images * views if fits or not has_text(one.name) else 0
        calls += seen
        if counts is None:
            known = False
            continue
        width += counts.image.width
        flops += seen * counts.image.flops
        if counts.text is not None:
            flops += classes * len(teacher.templates) * counts.text.flops
        elif has_text(one.name):
            notes.append(f"without the texts of {one.name}")
        if fits:  # the product with the features, and the gradient of the rows
            flops += 4 * seen * classes * counts.image.width * teacher.probe_steps
    size = 2 * classes * width * FLOAT
    if not known:
        notes.append(UNKNOWN_TEACHER)
    return Work(
        "teacher",
        "views",
        calls,
        calls,
        flops if known else None,
        size,
        size,
        teacher.precision,
        notes=tuple(notes),
    )


def generate_work(settings: Settings, amounts: Amounts, chosen: int | None = None) -> Work:
    """The bulk, and before it the small batches that probing compares, one of which is its start.

    Args:
        chosen: the candidate that probing chose; None: the one that costs most.
    """
    offered = possible(settings, amounts)
    if not offered:
        return Work("generate", "images", 0, on_cpu=True)
    bulk = {at: _after_probing(settings, amounts, *one) for at, one in offered.items()}
    notes: list[str] = []
    if chosen is None or chosen not in bulk:
        work = max(bulk.values(), key=lambda one: (one.flops or 0, one.amount))
        if len(bulk) > 1:
            notes.append(f"probing chooses 1 of {len(bulk)} candidates: the one that costs most")
    else:
        work = bulk[chosen]
    probed, calls = _probing(settings, amounts, [candidate for candidate, _ in offered.values()])
    known = None not in (probed, *(one.flops for one in bulk.values()))
    if not known:
        notes.append(UNKNOWN_GENERATOR)
    return replace(
        work,
        flops=(work.flops or 0) + (probed or 0) if known else None,
        teacher_calls=work.teacher_calls + calls,
        notes=(*work.notes, *notes),
    )


def _probing(
    settings: Settings, amounts: Amounts, offered: Sequence[GenerateSettings]
) -> tuple[int | None, int]:
    """FLOPs of probing, None where they are unknown, and the images that its teacher sees."""
    probing = settings.generate.probing
    if not probing.candidates:
        return 0, 0
    few = probing.per_class * amounts.classes
    seen = amounts.shots + few * len(offered)
    no_shots = replace(amounts, shots=0)  # they are encoded once, for probing and bulk together
    small = [_bulk(settings, no_shots, candidate, few) for candidate in offered]
    counts = count_teacher(settings.teacher.name)
    calls = seen + sum(one.teacher_calls for one in small)
    if counts is None or None in [one.flops for one in small]:
        return None, calls
    return sum(one.flops or 0 for one in small) + seen * counts.image.flops, calls


def _after_probing(
    settings: Settings, amounts: Amounts, candidate: GenerateSettings, images: int
) -> Work:
    """The images of one candidate; probing has made its first whole shards."""
    work = _bulk(settings, amounts, candidate, images)
    probing = settings.generate.probing
    if not probing.candidates or work.flops is None:
        return work
    few = probing.per_class * amounts.classes
    unit = unit_rows(candidate, amounts.classes)
    shared = {*cut(range(few), unit)} & {*cut(range(images), unit)}
    made = _bulk(settings, replace(amounts, shots=0), candidate, sum(map(len, shared)))
    return replace(
        work,
        flops=work.flops - (made.flops or 0),
        teacher_calls=work.teacher_calls - made.teacher_calls,
    )


def _bulk(settings: Settings, amounts: Amounts, candidate: GenerateSettings, images: int) -> Work:
    """The images of one candidate."""
    row = strategy_row(candidate.strategy)
    cost = image_cost(candidate, settings.teacher.name)
    shots = amounts.shots if "image" in row.needs else 0
    unit = unit_rows(candidate, amounts.classes)
    calls = -(-images // unit) * unit if images else 0
    width = cost.width if cost else 0
    size = images * (settings.image.resize**2 * CHANNELS + width * HALF)
    return Work(
        "generate",
        "images",
        images,
        calls * cost.teacher_calls if cost else 0,
        cost.of(images, unit, shots) if cost else None,
        size,
        2 * size,  # the shards, then the joined arrays beside them
        _arithmetic(candidate),
        on_cpu=row.tool in ("drawing", "photos"),
    )


def _arithmetic(settings: GenerateSettings) -> str:
    """Of a generator's networks."""
    tool = strategy_row(settings.strategy).tool
    if tool == "decoder":
        return "auto"
    configs = generator_configs(settings.generator) if tool == "generator" else None
    return "auto" if configs is not None and configs.kind == "petals" else settings.dtype


def label_work(settings: Settings, amounts: Amounts, synthetic: int) -> Work:
    """Every view of the pools once, to every teacher."""
    label, views = settings.label, pool_views(settings, amounts, synthetic)
    total = sum(count * each for kind, count, each in views if kind in label.pools)
    rendered = sum(count * each for _, count, each in views)  # those of other pools in training
    teachers = [count_teacher(one.name) for one in each_teacher(settings.teacher)]
    found = [one for one in teachers if one is not None]
    known = len(found) == len(teachers)
    width = sum(one.image.width for one in found)
    size = total * (width * HALF + amounts.classes * FLOAT)
    return Work(
        "label",
        "views",
        total,
        total * len(teachers),
        total * _image_flops(found) if known else None,
        size,
        2 * size,
        settings.teacher.precision,
        notes=(
            f"and up to {size_words(_views_bytes(settings, rendered))} of rendered views, a cache",
            *(() if known else (UNKNOWN_TEACHER,)),
        ),
    )


def _views_bytes(settings: Settings, views: int) -> int:
    """What the cache of rendered views takes, as far as it may grow."""
    return min(views * settings.image.size**2 * CHANNELS, HostSettings().cache_mb * 2**20)


def _image_flops(teachers: Sequence[TeacherCounts]) -> int:
    return sum(one.image.flops for one in teachers)


def pool_views(
    settings: Settings, amounts: Amounts, synthetic: int
) -> tuple[tuple[str, int, int], ...]:
    """Per pool its name, its images and the views of each, as the label stage counts them."""
    label = settings.label
    balanced = balanced_views(amounts.shots, synthetic, label.views)
    real = views_each(amounts.shots, label.real_views or balanced, *label.limits)
    return (("real", amounts.shots, real), ("synthetic", synthetic, label.views))


def distill_work(settings: Settings, amounts: Amounts, synthetic: int) -> Work:
    """Training steps of the student, or one pass over all views where its trunk stays frozen."""
    from compress.distill.objectives import pretraining_steps, terms_of  # slow to import

    distill = settings.distill
    parts = parts_of_batch(distill, amounts.shots > 0, synthetic > 0)
    drawn = [count for count, part in zip((amounts.shots, synthetic), parts, strict=True) if part]
    steps = steps_for(distill, sum(drawn))
    steps += pretraining_steps(distill, steps)
    student = _student(settings)
    head = 2 * student.width * amounts.classes
    images = steps * distill.batch
    notes = [] if student.flops else [UNKNOWN_STUDENT]
    if stays_frozen(distill) and distill.meta.mode == "none":
        views = sum(n * v for _, n, v in pool_views(settings, amounts, synthetic))
        flops = views * student.flops + images * TRAINING * head
    elif distill.train == "head":
        moving = min(feature_steps_for(distill, steps), steps) * distill.batch
        flops = moving * TRAINING * (student.flops + head)
        flops += (images - moving) * (student.flops + TRAINING * head)
    else:
        flops = images * TRAINING * (student.flops + head)
    if distill.meta.mode != "none":
        notes.append(f"a step of meta.mode={distill.meta.mode} costs more than the plain one here")
    if "gendd" in terms_of(distill):
        notes.append("without the denoiser of gendd")
    size = student.params * FLOAT
    precision = "auto" if distill.precision == "auto" else distill.precision
    return Work(
        "distill",
        "steps",
        steps,
        flops=flops if student.flops else None,
        bytes=size,
        peak_bytes=(1 + CHECKPOINT) * size,
        arithmetic=precision,
        notes=tuple(notes),
    )


def quantize_work(settings: Settings, amounts: Amounts) -> Work:
    """Calibration, training or fitting, and the comparison with float on unseen views."""
    from compress.distill.objectives import objective_spec  # slow to import

    quantize, batch = settings.quantize, settings.distill.batch
    steps = training_steps(quantize)
    student = _student(settings)
    one = student.flops + 2 * student.width * amounts.classes
    # the float student is asked too where the loss is not on logits alone
    asked = 0 if objective_spec(settings.distill).logits_only else 1
    compared = compared_batches(steps) * 3 * (1 + asked)  # float, calibrated, trained or fitted
    # rounding layer by layer sees calibration images in float and rounded
    fits = not steps and quantize.rounding == "layerwise"
    passes = quantize.calibration_images * (3 if fits else 1)
    passes += batch * (steps * (TRAINING + asked) + compared)
    size = student.params * FLOAT
    return Work(
        "quantize",
        "steps" if steps else "images",
        steps or quantize.calibration_images,
        flops=passes * one if student.flops else None,
        bytes=size,
        peak_bytes=(1 + CHECKPOINT if steps else 1) * size,
        on_cpu=True,
        notes=() if student.flops else (UNKNOWN_STUDENT,),
    )


def _student(settings: Settings) -> Counted:
    """The student on one image; all zero for one that cannot be counted."""
    try:
        return count_student(settings.distill, settings.image)
    except NotCountable:
        return Counted(0, 0)

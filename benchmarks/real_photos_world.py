"""Stand-ins for foundation models, trained on real photos: a CLIP teacher and a generator.

They play the part of models pretrained on the web, so they see the whole train split of the data
set, with captions that give the class name and nothing more. The networks and training loops are
those of the embedded world (``benchmarks.petals_training``); three things differ. Every caption of
a class matches every photo of it, because such captions distinguish no more (UniCL, Yang et al.
2022). A linear layer has to predict the photo's 4 x 4 thumbnail from its embedding, which keeps
there what captions on the web describe and a class name does not: surroundings and colors. Photos
have an up: they are mirrored, not turned.

    phase        makes                                    samples, cpu    gpu
    photos       the photos of the train split, 32 px     -               -
    teacher      teacher/, open_clip's folder format      300,000         5,000,000
    prior        prior/                                   300,000         2,000,000
    generator    unet/, scheduler/                        220,000         6,000,000
    evaluate     metrics.json, a contact sheet            -               -

The folder is a generator (``--generator FOLDER``) and ``FOLDER/teacher`` its teacher (``--teacher
FOLDER/teacher``): both embed photos with the same network, which condition prediction needs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip import CLIP
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import runtime
from benchmarks.petals_training import train
from benchmarks.petals_training.captions import tokenizer_of
from benchmarks.petals_training.evaluate import top1
from benchmarks.petals_training.files import save_teacher
from benchmarks.petals_training.loop import mirrored, optimize, shifted
from benchmarks.petals_training.phase import Phase
from benchmarks.petals_training.train_clip import MAX_LOG_SCALE, contrastive_loss
from benchmarks.petals_training.train_generator import embed_all, save_decoder, train_decoder
from compress.data.sources import open_source
from compress.data.split import Source, Split
from compress.engine.config import CLIP_TEMPLATES, DataSettings
from compress.engine.seeds import derive, manual_seed, numpy_rng
from compress.petals.generator import PetalsGenerator
from compress.petals.nets import EMBED_DIM, EMBED_SCALE, INPUT_SIZE, SPEC, new_teacher, pixels
from compress.petals.weights import CLIP_VOCABULARY, Tokenizer
from compress.teacher.prompts import prompts_for

TEMPLATES = (*CLIP_TEMPLATES, "a photo of a(n) {}", "a blurry photo of a(n) {}.", "a(n) {}", "{}")
THUMBNAIL = 4  # edge in pixels
THUMBNAIL_WEIGHT = 1.0
SHOWN = 4  # columns of each kind in the contact sheet
GENERATED_PER_CLASS = 50  # that the figures about the generator are taken on
# of the generator; inferred
STEPS = 12
GUIDANCE_SCALE = 2.0


@dataclass(frozen=True)
class TrainingScale:
    """How long to train: samples of the phases that learn, and rows per update."""

    teacher: int
    prior: int
    generator: int
    teacher_batch: int
    decoder_batch: int

    @property
    def samples(self) -> dict[str, int]:
        """Samples of every phase."""
        return {phase: getattr(self, phase, 0) for phase in PHASES}


SCALES = {
    "cpu": TrainingScale(300_000, 300_000, 220_000, teacher_batch=192, decoder_batch=64),
    "gpu": TrainingScale(5_000_000, 2_000_000, 6_000_000, teacher_batch=512, decoder_batch=256),
}


@dataclass(frozen=True)
class Photos:
    """Photos uint8 (N, 32, 32, 3), their class numbers (N,) and the captions of every class."""

    images: np.ndarray
    labels: np.ndarray
    texts: Sequence[Sequence[str]]

    def captions(self, rng: np.random.Generator, rows: Sequence[int] | np.ndarray) -> list[str]:
        """A random caption of each photo named in ``rows``."""
        dice = rng.random(len(rows))
        chosen = [self.texts[self.labels[row]] for row in rows]
        return [texts[int(part * len(texts))] for texts, part in zip(chosen, dice, strict=True)]


@dataclass(frozen=True)
class PhotoJob(train.Job):
    """A training run on the photos of a folder (``train/<class>/``, ``test/<class>/``)."""

    data: Path
    scale: TrainingScale

    def facts(self, phase: str) -> dict[str, Any]:
        """As every job's, and which photos."""
        return {**super().facts(phase), "data": str(self.data)}

    def source(self) -> Source:
        """The folder's classes and splits."""
        return open_source(DataSettings(dataset=None, path=self.data, shots="all"))

    def pictures(self) -> Photos:
        """The train split."""
        kept = np.load(self.work / "photos.npz")
        return Photos(kept["images"], kept["labels"], prompts_for(self.source().classes, TEMPLATES))


def read_photos(split: Split, rows: Sequence[int] | None = None) -> np.ndarray:
    """Photos of a split in the teacher's geometry, uint8 (N, 32, 32, 3)."""
    rows = range(len(split)) if rows is None else rows
    return np.stack([runtime.geometry(split.image(row), SPEC) for row in rows])


def train_photo_teacher(
    phase: Phase, photos: Photos, tokenizer: Tokenizer, samples: int, batch: int
) -> CLIP:
    """The CLIP teacher, from nothing."""
    manual_seed(phase.seed, "real photos", phase.name)
    model = phase.place(new_teacher(len(tokenizer.ids)))
    painter = nn.Linear(EMBED_DIM, 3 * THUMBNAIL**2).to(phase.device)
    rng = numpy_rng(phase.seed, "real photos", phase.name, "captions")
    classes = torch.from_numpy(photos.labels)

    def loss_of(rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        images = shifted(mirrored(pixels(photos.images[rows], phase.device)))
        texts, place = tokenizer(photos.captions(rng, rows)).unique(dim=0, return_inverse=True)
        with phase.autocast():
            image = model.encode_image(phase.channels_last(images))
            text = model.encode_text(texts.to(phase.device))
        image = functional.normalize(image.float(), dim=-1)
        text = functional.normalize(text.float(), dim=-1)[place.to(phase.device)]
        labels = classes[torch.from_numpy(rows)].to(phase.device)
        contrast = contrastive_loss(image, text, model.logit_scale, labels)
        thumbnail = functional.mse_loss(
            painter(image * EMBED_SCALE),
            functional.adaptive_avg_pool2d(images, THUMBNAIL).flatten(1),
        )
        right = (labels[(image @ text.T).argmax(1)] == labels).float().mean()
        numbers = {"contrast": contrast.item(), "thumbnail": thumbnail.item(), "top1": right.item()}
        return contrast + THUMBNAIL_WEIGHT * thumbnail, numbers

    def clamp(step: int) -> None:
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAX_LOG_SCALE)

    optimize(
        phase,
        [*model.parameters(), *painter.parameters()],
        loss_of,
        rows=len(photos.images),
        batch=min(batch, len(photos.images)),
        samples=samples,
        lr=2e-3,
        weight_decay=0.05,
        after=clamp,
    )
    return model.eval()


def save_photo_teacher(model: CLIP, tokenizer: Tokenizer, out: Path) -> None:
    """teacher/ with the rows of its few words spread over CLIP's whole vocabulary, others zero."""
    state = dict(model.state_dict())
    few = state["token_embedding.weight"].cpu()
    table = torch.zeros(CLIP_VOCABULARY, few.shape[1])
    table[list(tokenizer.ids)] = few
    save_teacher({**state, "token_embedding.weight": table}, CLIP_VOCABULARY, out)


def _photos(job: PhotoJob) -> None:
    split = job.source().train
    np.savez(job.work / "photos.npz", images=read_photos(split), labels=split.labels)


def _teacher(job: PhotoJob) -> None:
    photos = job.pictures()
    phase = job.phase("teacher")
    tokenizer = tokenizer_of(text for texts in photos.texts for text in texts)
    model = train_photo_teacher(
        phase, photos, tokenizer, job.samples["teacher"], job.scale.teacher_batch
    )
    save_photo_teacher(model, tokenizer, job.out)


def _generator(job: PhotoJob) -> None:
    teacher, _ = job.teacher()
    photos = job.pictures()
    phase = job.phase("generator")
    batch = min(job.scale.decoder_batch, len(photos.images))
    unet = train_decoder(
        phase, photos, teacher, job.samples["generator"], turn=mirrored, batch=batch
    )
    save_decoder(unet, job.out)


def _evaluate(job: PhotoJob) -> None:
    metrics, sheet = measure(job)
    (job.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    sheet.save(job.out / "sheet.png", optimize=True)


PHASES: dict[str, Callable[[Any], None]] = {
    "photos": _photos,
    "teacher": _teacher,
    "prior": train.PHASES["prior"],
    "generator": _generator,
    "evaluate": _evaluate,
}


@torch.no_grad()
def measure(job: PhotoJob) -> tuple[dict[str, float], Image.Image]:
    """The quality of both on the test split, and a contact sheet.

    The sheet shows photos, images from class names, and images from the photos' embeddings.
    """
    teacher, tokenizer = job.teacher()
    source = job.source()
    phase = job.phase("evaluate")
    texts = [texts[0] for texts in prompts_for(source.classes, TEMPLATES)]
    head = functional.normalize(
        teacher.encode_text(tokenizer(texts).to(phase.device)).float(), dim=-1
    ).cpu()
    rng = numpy_rng(job.seed, "real photos", "evaluate")
    test = source.test
    photos = read_photos(test)
    labels = torch.from_numpy(test.labels)
    seen = embed_all(phase, teacher, photos)
    per_class = [
        rng.permutation(np.flatnonzero(test.labels == c))[:GENERATED_PER_CLASS]
        for c in range(len(texts))
    ]
    rows = np.concatenate(per_class)
    owners = labels[torch.from_numpy(rows)]
    generator = PetalsGenerator(job.out, device=job.device)
    seeds = [derive(job.seed, "real photos", "evaluate", int(row)) for row in rows]
    began = time.perf_counter()
    drawn = generator.embed_texts([texts[owner] for owner in owners.tolist()], seeds)
    from_text = generator.decode(drawn, seeds, STEPS, GUIDANCE_SCALE)
    seconds = time.perf_counter() - began
    from_image = generator.decode(seen[torch.from_numpy(rows)], seeds, STEPS, GUIDANCE_SCALE)
    made_text = embed_all(phase, teacher, from_text)
    made_image = embed_all(phase, teacher, from_image)
    wanted = seen[torch.from_numpy(rows)]
    metrics = {
        "test_photos": len(photos),
        "teacher_zero_shot": top1(seen @ head.T, labels),
        "teacher_image_parameters": sum(p.numel() for p in teacher.visual.parameters()),
        "agreement_of_images_from_text": top1(made_text @ head.T, owners),
        "agreement_of_images_from_embeddings": top1(made_image @ head.T, owners),
        "agreement_of_the_embeddings": top1(wanted @ head.T, owners),
        "cosine_to_condition": float((made_image * wanted).sum(1).mean()),
        "diversity_photos": spread(wanted, owners),
        "diversity_from_text": spread(made_text, owners),
        "images_per_s": len(rows) / seconds,
    }
    starts = np.cumsum([0, *(len(part) for part in per_class)])[:-1]
    columns = [
        [*photos[rows[s : s + SHOWN]], *from_text[s : s + SHOWN], *from_image[s : s + SHOWN]]
        for s in starts
    ]
    return {name: round(float(value), 4) for name, value in metrics.items()}, contact_sheet(columns)


def spread(features: Tensor, owners: Tensor) -> float:
    """Mean 1 - cosine of two unit rows of ``features`` (N, D) of one class; 0 for single images."""
    same = (owners[:, None] == owners[None, :]) & ~torch.eye(len(owners), dtype=torch.bool)
    return float((1 - features @ features.T)[same].mean()) if same.any() else 0.0


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], gap: int = 8) -> Image.Image:
    """A row per class, a gap after every ``SHOWN`` images; 128 colors take a third of the bytes."""
    size = INPUT_SIZE
    columns = max(map(len, rows))
    width = columns * size + (columns - 1) // SHOWN * gap
    sheet = Image.new("RGB", (width, len(rows) * size), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(Image.fromarray(np.asarray(image)), (x * size + x // SHOWN * gap, y * size))
    return sheet.quantize(128, method=Image.Quantize.MEDIANCUT)


def make_world(
    data: Path, folder: Path, scale: TrainingScale, *, seed: int = 0, device: str = "cpu"
) -> dict[str, Any]:
    """Trains the phases without a receipt; returns metrics.json and the seconds of every phase."""
    job = PhotoJob(folder / "world", folder, seed, device, scale.samples, data.resolve(), scale)
    train.train(job, phases=PHASES)
    seconds = {
        phase: json.loads((folder / f"{phase}.done.json").read_text(encoding="utf-8"))["seconds"]
        for phase in PHASES
    }
    return {
        **json.loads((job.out / "metrics.json").read_text(encoding="utf-8")),
        "seconds": seconds,
    }

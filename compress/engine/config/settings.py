"""The settings and their defaults, in pipeline order.

Where a value comes from: [S] a paper states it, [C] a paper's official code has it, [P3] a third
party's summary of the paper says so (unverified), [I] we chose it because no source gives one.
A result with [I] values is a replica with inferred settings, not a reproduction.

Names, order and defaults are part of the keys of the store: a changed one makes stages again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from compress.engine.config.section import (
    Count,
    CountOrZero,
    Decay,
    Fraction,
    Noises,
    NonNegative,
    Pixels,
    Positive,
    Seconds,
    Section,
    Seed,
    Share,
    Some,
    Threads,
    UserPath,
)
from compress.engine.config.student import DistillSettings

CLIP_TEMPLATES = (
    "a photo of a(n) {}[, a type of {category}].",
    "a good photo of a(n) {}[, a type of {category}].",
    "a close-up photo of a(n) {}[, a type of {category}].",
)
STYLE_WORDS = (
    "photo, painting, sketch, cartoon, watercolor, oil painting, pencil drawing, origami, "
    "pixel art, sculpture, embroidery, graffiti, tattoo, toy, art, rendering"
)


class DataSettings(Section):
    """The images: a named dataset, a folder, or class names alone."""

    dataset: str | None = "petals"  # a name of `compress list datasets`
    path: UserPath | None = None  # a folder, archive or table of images, in place of dataset
    classes: tuple[str, ...] | None = None  # names alone, in place of images
    shots: CountOrZero | Literal["all"] = 4  # labeled images per class; "all": the training split
    category: str | None = None  # e.g. "flower", for prompts with {category}
    style: str | None = None  # petals only: photo, sketch, painting, night
    domain: str | None = None  # of a multi-domain dataset: where the shots come from; None: first
    test_domains: tuple[str, ...] = ()  # tested besides the run's own; ("all",): all others
    root: UserPath | None = None  # where named datasets lie; None: <work folder>/datasets
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2  # of a folder without test/
    # at most so many test images, alike from all classes; None: all
    test_limit: Count | None = None
    max_pixels: Count = 64_000_000  # larger images are refused as decompression bombs
    offline: bool = False  # nothing is fetched: no hub, no download
    # of nested folders: the outer ones, the innermost ones, those with one class for each name, or
    # what their names speak for
    class_folders: Literal["auto", "top", "leaf", "merged"] = "auto"
    # images of a folder that are in training and test alike; "allow" lists them and goes on
    duplicates: Literal["refuse", "allow"] = "refuse"

    @model_validator(mode="after")
    def _one_source(self) -> DataSettings:
        given = [name for name in ("dataset", "path", "classes") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of dataset, path, classes must be given, got {given or 'none'}"
            )
        if self.classes is not None and self.shots != 0:
            raise ValueError("class names alone give no images: shots must be 0")
        return self


class ImageSettings(Section):
    """The student's input: shorter side resized to size / crop_pct, then a center crop."""

    size: Pixels = 224  # height and width of the input, in pixels
    # side of the crop as a share of the resized shorter side
    crop_pct: Annotated[float, Field(gt=0.2, le=1)] = 0.875
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"  # of the resize

    @property
    def resize(self) -> int:
        """Pixels of the shorter side after the resize, before the crop."""
        return round(self.size / self.crop_pct)


class TeacherSettings(Section):
    """The teacher and the head that it is given from the shots."""

    # open_clip "model/tag", a local folder, "timm:NAME[@FILE]", or "petals"
    name: str = "ViT-L-14/openai"
    others: tuple[str, ...] = ()  # further teachers; their probes' probabilities are averaged
    templates: tuple[str, ...] = CLIP_TEMPLATES  # prompts whose text embeddings are averaged
    probe: bool = True  # fit a head on the shots; False: zero-shot
    # what is fitted, of a CLIP teacher; of several heads the probabilities are averaged
    heads: Annotated[
        tuple[Literal["probe", "tip-adapter", "lp++", "prolip"], ...], Field(min_length=1)
    ] = ("probe",)
    probe_steps: CountOrZero = 200  # of any head that is trained [I]
    probe_lr: Positive = 2e-3  # [I]
    probe_views: Some = 32  # augmented views per shot that the probe is fitted on [I]
    # CLAP's pull to the texts: a mean over classes [C], or K times as strong, their sum [S]
    probe_anchor: Literal["mean", "sum"] = "mean"
    precision: Literal["fp32", "bf16"] = "fp32"  # in which it computes


class PromptSettings(Section):
    """What an image is optimized or drawn toward (`compress list prompts`)."""

    kind: str = "fixed"  # a row of `compress list prompts`
    template: str = "a photo of a(n) {}"  # of prompts without a style
    style_template: str = "a(n) {} in the style of {style}"  # for style words and pseudo-words
    words: tuple[str, ...] = tuple(STYLE_WORDS.split(", "))  # style words
    # learned pseudo-words: 16 for CVLM [I]; prompt diversity has 80 [C: PromptStyler]
    count: Some = 16
    mixed: Annotated[int, Field(ge=2, le=65_536)] = 2  # styles in a mix [I]
    mix_alpha: Positive = 1.0  # Dirichlet concentration [I]
    # where styles are mixed: text features or token embeddings
    mix_level: Literal["feature", "token"] = "feature"
    # the style term of learned pseudo-words
    contrastive: Literal["infonce", "promptstyler"] = "infonce"
    category_weight: NonNegative = 1.0  # gamma of the category term [I]
    temperature: Positive = 0.1  # [I]
    steps: CountOrZero = 500  # [I]
    lr: Positive = 1e-3  # [I]
    init_std: Positive = 0.02  # [C: PromptStyler]


class InversionSettings(Section):
    """Images optimized through a decoder until their teacher feature matches a prompt target."""

    # "movq" (of Kandinsky 2.2), a local diffusers VQModel, "petals-vq", or "pixels"
    decoder: str = "movq"
    steps: Count = 400  # [P3]
    lr: Positive = 0.1  # Adam [C: VQGAN-CLIP]
    betas: tuple[Decay, Decay] = (0.9, 0.999)  # of Adam's two moments [C: VQGAN-CLIP]
    # images of one trajectory, the first after ``steps``, each further one ``snapshot_steps`` later
    snapshots: Some = 1  # [I], as snapshot_steps
    snapshot_steps: Count = 6  # between two images of a trajectory
    # what they go toward: the target of the first, or their own ones, as warm starts do [I]
    snapshot_target: Literal["same", "own"] = "same"
    cutouts: Some = 8  # [I]; VQGAN-CLIP: 32
    class_weight: NonNegative = 0.0  # beta of the class-consistent term; 1 in CVLM [P3]
    # gamma of deep inversion: how much the batch norms' statistics count [I]
    statistics_weight: NonNegative = 100.0
    variation_weight: NonNegative = 30.0  # delta of deep inversion: of neighboring pixels [I]
    image_size: Annotated[int, Field(ge=16, le=4096)] = 224  # [I]
    # what is done to cut-outs; "full": as VQGAN-CLIP [C]; "auto": "noise" below 128 pixels [I]
    augment: Literal["auto", "none", "noise", "full"] = "auto"

    @field_validator("augment", mode="before")
    @classmethod
    def _as_once_written(cls, value: object) -> object:
        """Reads true and false, which this setting was before it had names."""
        return ("full" if value else "none") if isinstance(value, bool) else value


class ProbingSettings(Section):
    """Small batches of candidate settings, scored by the teacher before the bulk is generated.

    score = agreement + diversity_weight x diversity ratio - gap_weight x domain gap
    """

    # overrides of generate.*, e.g. {"strategy": "img2img"}; (): no probing
    candidates: tuple[dict[str, Any], ...] = ()
    per_class: Count = 8  # images of each candidate
    diversity_weight: NonNegative = 0.5  # [I]
    gap_weight: NonNegative = 1.0  # [I]


class GenerateSettings(Section):
    """Synthetic images."""

    strategy: str = "sidclip"  # a row of `compress list strategies`
    # of strategy mix: how many of the images each strategy makes, in any unit
    shares: dict[Literal["sidclip", "cls2img", "img2img"], NonNegative] = {
        "sidclip": 1.0,
        "cls2img": 1.0,
        "img2img": 1.0,
    }
    generator: str = "kandinsky-2.2"  # of `compress list generators`, a local folder or a hub id
    per_class: CountOrZero = 300  # [S: SIDCLIP] 100/200/300
    synth_ratio: NonNegative | None = None  # replaces per_class: x real images of the class
    steps: Noises = 50  # denoising steps of the decoder [I]
    prior_steps: Noises = 25  # denoising steps of the diffusion prior
    guidance_scale: NonNegative = 4.0  # [I]
    # guided steps, as shares of all from the noise to the image: arXiv 2404.07724
    guidance_interval: tuple[Fraction, Fraction] = (0.0, 1.0)
    noise_level: Annotated[int, Field(ge=0, le=999)] = 0  # of unCLIP's image embedding [C]
    templates: tuple[str, ...] = ("a photo of a(n) {}",)  # cls2img, one drawn per image [I]
    batch: Some = 8  # images at a time
    # height and width of the images made, in pixels; None: the generator's own
    height: Annotated[int, Field(ge=32, le=4096)] | None = None
    scheduler: str | None = None  # a diffusers class name, e.g. DPMSolverMultistepScheduler
    dtype: Literal["fp32", "fp16", "bf16", "auto"] = "fp32"  # auto: bf16 where it is faster
    pair_mode: Literal["resample", "fixed"] = "resample"  # [I] for 4 and more shots
    text_via_prior: bool = True  # text becomes an image embedding through the diffusion prior [I]
    prior_per_image: bool = True  # [I]
    prompts: PromptSettings = PromptSettings()
    inversion: InversionSettings = InversionSettings()
    probing: ProbingSettings = ProbingSettings()

    @model_validator(mode="after")
    def _interval(self) -> GenerateSettings:
        first, last = self.guidance_interval
        if first > last:
            raise ValueError(f"guidance_interval goes from the noise on, got {first} to {last}")
        return self


class LabelSettings(Section):
    """Views (replayable augmentations) and the teacher's cached targets."""

    views: Some = 4  # of a synthetic image
    real_views: Some | None = None  # per shot; None: so many that real and synthetic are equal
    # of all real images together, for labels and for the probe: of many images each has fewer
    most_views: Count = 40_000
    least_views: CountOrZero = 0  # likewise: of few images each has more, up to 64
    randaug_num_ops: Annotated[int, Field(ge=0, le=1024)] = 6  # [S] "six augmentations per image"
    randaug_magnitude: Annotated[int, Field(ge=0, le=30)] = 9  # [I]
    crop_scale_min: Share = 0.5  # [I]
    flip: bool = True  # mirror half of the views
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0  # largest rotation either way, in degrees
    noise: Fraction = 0.0  # largest standard deviation of Gaussian noise, of the full range
    jitter: Fraction = 0.0  # largest change of brightness, contrast and saturation
    # pixels of a view that teachers see: the student's, resized, or the same crop at their own size
    teacher_view: Literal["student", "own"] = "student"
    # pools that get teacher targets at all
    pools: tuple[Literal["real", "synthetic"], ...] = ("real", "synthetic")
    # the target of each view is the mean of the teacher's probabilities over an image's views
    average_targets: bool = False
    agreement_filter: bool = False  # drop synthetic images whose teacher label is not their class
    # how often a synthetic image is drawn: as often as any other, or by the teacher's probability
    # of its class; a class keeps its share of the draws
    weight: Literal["none", "teacher"] = "none"
    batch: Some = 256  # views at a time

    @property
    def limits(self) -> tuple[int, int]:
        """The most and the least views of all real images together."""
        return self.most_views, self.least_views


class QuantizeSettings(Section):
    """Quantization-aware training."""

    mode: Literal["qat", "ptq"] = "qat"  # train with simulated int8, or only calibrate
    steps: CountOrZero = 600  # updates of the weights; 0: none
    lr: Positive = 5e-5  # highest learning rate
    # of weights that are not trained: layer by layer, each fitted to what the int8 layers before it
    # give, or each weight to its nearest step
    rounding: Literal["layerwise", "nearest"] = "layerwise"
    freeze_at: Fraction = 0.75  # share of the steps after which the observers are frozen
    calibration_images: Some = 256  # views that set the ranges of activations
    # modules kept in float, e.g. [blocks.5, head]; `compress sensitivity` finds them
    float_blocks: tuple[str, ...] = ()
    checkpoint_every: Count = 100  # steps between two checkpoints


class ExportSettings(Section):
    """ONNX files and their parity."""

    opset: Annotated[int, Field(ge=18, le=22)] = 20  # 18 is the oldest that torch writes
    parity_images: Some = 256  # on which files and the trained network are compared
    # at most so many labeled images that are neither shots nor tests set temperature and rejection
    spare_images: Annotated[int, Field(ge=0, le=65_536)] = 192
    # of images of the classes that rejection keeps; the threshold is set without test images
    known_share: Share = 0.95


class BenchSettings(Section):
    """Measurement on this host."""

    seconds: Seconds = 20.0  # of timing with the first number of threads; half for each further one
    # numbers of threads that are timed
    threads: Annotated[tuple[Threads, ...], Field(min_length=1)] = (1,)
    # the bundle's default file; auto: as the gates decide
    precision: Literal["auto", "fp32", "int8"] = "auto"
    # points of top-1 that int8 may lose in a class with so many test images
    class_drop: Annotated[float, Field(ge=0, le=100)] = 10.0
    class_images: Count = 20  # test images of a class from which on class_drop is judged
    # test images under five corruptions at five severities each; 0: none
    stress_images: Annotated[int, Field(ge=0, le=65_536)] = 40
    unknown: UserPath | None = None  # a folder of images of no class, to measure rejection on


class BudgetSettings(Section):
    """Limits, and the search for a student that keeps them.

    Successive halving: Jamieson and Talwalkar, AISTATS 2016.
    """

    limits: tuple[str, ...] = ()  # e.g. "p50<=5ms@orin-nano"; (): no budget
    search: bool = True  # False: only judge the build of the other settings
    students: tuple[str, ...] = ()  # (): the zoo of the run's world, and distill.student
    sizes: tuple[Pixels, ...] = ()  # (): image.size, and smaller ones if nothing fits
    most: Count = 6  # the largest candidates that fit; the others are not trained
    # shares of distill.steps where candidates are compared
    rungs: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.25, 0.5)
    keep: Share = 0.5  # share of the candidates that goes on to the next rung
    held_out: Some = 16  # fresh synthetic images per class for the comparison
    seconds: Seconds = 0.5  # measuring each untrained file on this machine
    calibration: tuple[UserPath, ...] = ()  # files of `compress estimate --save`


class Settings(Section):
    """A whole run."""

    seed: Seed = 0  # of every drawn number: the same seed gives the same bundle
    data: DataSettings = DataSettings()
    image: ImageSettings = ImageSettings()
    teacher: TeacherSettings = TeacherSettings()
    generate: GenerateSettings = GenerateSettings()
    label: LabelSettings = LabelSettings()
    distill: DistillSettings = DistillSettings()
    quantize: QuantizeSettings = QuantizeSettings()
    export: ExportSettings = ExportSettings()
    bench: BenchSettings = BenchSettings()
    budget: BudgetSettings = BudgetSettings()  # never part of an identity
    notes: tuple[str, ...] = ()  # recorded states, e.g. a fallback; of no identity but the report's

    def plain(self) -> dict[str, Any]:
        """The settings as JSON values, in pipeline order."""
        return self.model_dump(mode="json")

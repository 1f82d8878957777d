"""Every knob, in pipeline order: frozen, strict, and free of torch.

Layers, later ones win: the field defaults here < the world (``presets/worlds/``: where teacher,
    generator and student come
from) < ``--preset`` < the flags of the command line < ``--set section.field=value``. The fully
resolved result is written to ``runs/<name>/config.yaml`` and repeats the run.

Fields marked [S] are stated by a paper, [C] read in its official code, those marked [I] are our
inference and stay configurable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from compress.engine.errors import ConfigError, nearest

PRESETS = Path(__file__).parents[1] / "presets"
CLIP_TEMPLATES = (
    "a photo of a(n) {}[, a type of {category}].",
    "a good photo of a(n) {}[, a type of {category}].",
    "a close-up photo of a(n) {}[, a type of {category}].",
)

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A frozen group of settings; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class DataSettings(Section):
    """Which images: a named dataset, a folder, or only class names."""

    dataset: str | None = "petals"
    path: Path | None = None
    classes: tuple[str, ...] | None = None
    shots: Annotated[int, Field(ge=0)] | Literal["all"] = 4  # "all": every training image
    category: str | None = None  # "flower": goes into prompts that ask for {category}
    style: str | None = None  # petals only: photo, sketch, painting, night
    domain: str | None = (
        None  # sets of several domains: where the shots come from; None = its first
    )
    test_domains: tuple[
        str, ...
    ] = ()  # domains tested besides the run's own; ("all",) = every one there is
    root: Path | None = None  # where named datasets lie; default: <work folder>/datasets
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2  # of a folder without a test/ folder
    test_limit: Annotated[int, Field(ge=1)] | None = None
    max_pixels: Count = 64_000_000  # larger images are refused as bombs
    offline: bool = False

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
    """The student's geometry: shorter side resized to size / crop_pct, then a center crop."""

    size: Annotated[int, Field(ge=16, le=1024)] = 224
    crop_pct: Annotated[float, Field(gt=0.2, le=1)] = 0.875
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"

    @property
    def resize(self) -> int:
        """Edge in pixels that the shorter side is resized to before the crop."""
        return round(self.size / self.crop_pct)


class TeacherSettings(Section):
    """The CLIP teacher and its linear probe."""

    name: str = "ViT-L-14/openai"  # open_clip "model/tag", a local folder, or "petals"
    templates: tuple[str, ...] = CLIP_TEMPLATES
    probe: bool = True
    probe_steps: Annotated[int, Field(ge=0)] = 200  # [I]
    probe_lr: Annotated[float, Field(gt=0)] = 2e-3  # [I]
    probe_views: Count = 32  # augmented views of each shot that the probe is fitted on [I]
    precision: Literal["fp32", "bf16"] = "fp32"


class PromptSettings(Section):
    """What an image is optimized or drawn toward: rows of the table of prompt targets (systems C
    and E).
    """

    kind: str = "fixed"  # fixed, mix, random, contrastive, words, learned, prototypes
    template: str = "a photo of a(n) {}"
    style_template: str = "a(n) {} in the style of {style}"  # of style words and pseudo-words
    words: tuple[str, ...] = (
        "photo",
        "painting",
        "sketch",
        "cartoon",
        "watercolor",
        "oil painting",
        "pencil drawing",
        "origami",
        "pixel art",
        "sculpture",
        "embroidery",
        "graffiti",
        "tattoo",
        "toy",
        "art",
        "rendering",
    )
    count: Count = (
        16  # learned pseudo-words: N of system E [I], M = 80 in system C [C: PromptStyler]
    )
    mixed: Annotated[int, Field(ge=2)] = 2  # styles in a mix [I]
    mix_alpha: Annotated[float, Field(gt=0)] = 1.0  # Dirichlet concentration [I]
    mix_level: Literal["feature", "token"] = "feature"
    contrastive: Literal["infonce", "promptstyler"] = "infonce"
    category_weight: Annotated[float, Field(ge=0)] = 1.0  # gamma of the category term [I]
    temperature: Annotated[float, Field(gt=0)] = 0.1  # [I]
    steps: Annotated[int, Field(ge=0)] = 500  # [I]
    lr: Annotated[float, Field(gt=0)] = 1e-3  # [I]
    init_std: Annotated[float, Field(gt=0)] = 0.02  # [C: PromptStyler]


class InversionSettings(Section):
    """Images optimized through a differentiable decoder until the teacher sees their target
    (systems C and E).
    """

    decoder: str = (
        "movq"  # "movq" (Kandinsky 2.2's), a local diffusers VQModel, "petals-vq", or "pixels"
    )
    steps: Count = 400  # [P3]
    lr: Annotated[float, Field(gt=0)] = 0.1  # Adam [C: VQGAN-CLIP]
    cutouts: Count = 8  # [I]; VQGAN-CLIP: 32
    class_weight: Annotated[float, Field(ge=0)] = (
        0.0  # beta of the class-consistent term, 1 in system E [P3]
    )
    image_size: Annotated[int, Field(ge=16)] = 224  # [I]
    augment: bool = (
        True  # the random affine, perspective, color and erasing of VQGAN-CLIP's cut-outs
    )


class ProbingSettings(Section):
    """Small batches from candidate settings, scored by the teacher before the bulk is generated."""

    candidates: tuple[
        dict[str, Any], ...
    ] = ()  # overrides of generate.*, e.g. {"strategy": "img2img"}; () = off
    per_class: Count = 8
    diversity_weight: Annotated[float, Field(ge=0)] = (
        0.5  # score = agreement + this x diversity ratio - ... [I]
    )
    gap_weight: Annotated[float, Field(ge=0)] = 1.0  # ... this x domain gap [I]


class GenerateSettings(Section):
    """Synthetic images."""

    strategy: str = "sidclip"
    generator: str = (
        "kandinsky-2.2"  # a name of `compress list generators`, a local folder, or a hub id
    )
    per_class: Annotated[int, Field(ge=0)] = 300  # [S: SIDCLIP] 100/200/300
    synth_ratio: Annotated[float, Field(ge=0)] | None = (
        None  # instead of per_class: times the real images of a class
    )
    steps: Count = 50  # denoising steps of the decoder [I]
    prior_steps: Count = 25
    guidance_scale: Annotated[float, Field(ge=0)] = 4.0  # [I]
    noise_level: Annotated[int, Field(ge=0, le=999)] = (
        0  # unCLIP's noise on the image embedding [C]
    )
    templates: tuple[str, ...] = ("a photo of a(n) {}",)  # cls2img, one drawn per image [I]
    batch: Count = 8
    height: Annotated[int, Field(ge=32)] | None = None
    scheduler: str | None = None  # a diffusers class name, e.g. DPMSolverMultistepScheduler
    dtype: Literal["fp32", "fp16", "bf16"] = "fp32"
    pair_mode: Literal["resample", "fixed"] = "resample"  # [I] for k >= 4
    text_via_prior: bool = True  # [I] text becomes an image embedding through the diffusion prior
    prior_per_image: bool = True  # [I]
    prompts: PromptSettings = PromptSettings()
    inversion: InversionSettings = InversionSettings()
    probing: ProbingSettings = ProbingSettings()


class LabelSettings(Section):
    """Views (replayable augmentations) and the teacher's cached targets."""

    views: Count = 4
    real_views: Count | None = (
        None  # views per real shot; default: as many as make real and synthetic equal
    )
    randaug_num_ops: Annotated[int, Field(ge=0)] = 6  # [S] "six augmentations per image"
    randaug_magnitude: Annotated[int, Field(ge=0, le=30)] = 9  # [I]
    crop_scale_min: Annotated[float, Field(gt=0, le=1)] = 0.5  # [I]
    flip: bool = True
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0  # largest rotation either way, in degrees
    noise: Fraction = (
        0.0  # largest standard deviation of Gaussian noise on a view, of the full range
    )
    pools: tuple[Literal["real", "synthetic"], ...] = (
        "real",
        "synthetic",
    )  # what the teacher is asked about at all
    agreement_filter: bool = False  # drop synthetic images whose teacher label is not their class
    batch: Count = 256


class GenddSettings(Section):
    """The denoiser of generative distribution distillation (system D); nothing of it ships."""

    token_dim: Count = 64  # width of a chunk; the target's width must be a multiple [C]
    width: Count = 1024  # [C]
    depth: Count = 3  # residual blocks [C]
    diffusion_steps: Annotated[int, Field(ge=2)] = 1000  # [C]
    repeats: Count = 10  # noise levels per image and chunk and step [C]
    condition_drop: Fraction = 0.2  # [C]
    mixup_beta: Annotated[float, Field(ge=0)] = (
        0.0  # feature-space mixup; 0 = off, 1 for CNN pairs [C]
    )
    sampling_steps: Annotated[int, Field(ge=2)] = 64  # [C]
    guidance_scale: Annotated[float, Field(ge=0)] = 2.0  # [C]
    samples: Count = 5  # averaged in feature space [C]
    sample_clip: Annotated[float, Field(gt=0)] | None = (
        10.0  # deviations; None = none, as in the reference code [I]
    )


class MetaSettings(Section):
    """Meta-distillation over style groups (system E)."""

    mode: Literal["none", "exact", "first_order", "reptile"] = "none"
    inner_lr: Annotated[float, Field(ge=0)] | None = None  # alpha; None = the rate of the step [I]
    warmup: Fraction = (
        0.05  # share of the steps with plain distillation first [P3: 10 of 200 epochs]
    )


class DistillSettings(Section):
    """The student and its training."""

    student: str = "mobilenetv4_conv_medium"
    activation: str | None = (
        None  # of the student instead of its own, e.g. "relu": a twin that int8 kernels fuse
    )
    init: Literal["clip", "timm", "random", "generic"] = "timm"
    init_path: Path | None = (
        None  # a safetensors file with the trunk to start from, or a small CLIP's open_clip folder
    )
    head: Literal["auto", "cosine", "linear"] = (
        "auto"  # auto: cosine for a small CLIP, linear otherwise
    )
    train: Literal["all", "head"] = "all"  # head: the trunk stays as it is
    feature_steps: Annotated[int, Field(ge=0)] = (
        0  # of ``steps``, first: feature distillation alone, labels unused
    )
    objective: str = "kd"
    alpha: Fraction = 0.9  # weight of KL, 1 - alpha of CE [I]
    synthetic_ce: bool = (
        False  # CE on synthetic images too (their class is only what they were asked for)
    )
    temperature: Annotated[float, Field(gt=0)] = 2.0  # [I]
    feature_weight: Annotated[float, Field(ge=0)] = 1.0  # of the feature term of fd and fd_kd [I]
    feature_loss: Literal["cosine", "mse_norm"] = "cosine"
    logit_weight: Annotated[float, Field(ge=0)] = 1.0  # of the zero-shot logit term of ld [I]
    condition_weight: Annotated[float, Field(ge=0)] = 1.0  # of the condition term of cp [I]
    smooth: Fraction = (
        0.9  # s of distribution contraction: 0 = the teacher's feature, 1 = the class center [C]
    )
    center: Literal["text", "image_mean", "probe_row"] = "probe_row"  # where contraction leads [I]
    gendd: GenddSettings = GenddSettings()
    meta: MetaSettings = MetaSettings()
    steps: Count = 6000
    epochs: Annotated[float, Field(gt=0)] | None = (
        None  # instead of steps: passes over the images of the batches
    )
    batch: Annotated[int, Field(ge=2)] = 128
    real_fraction: Fraction = 0.5  # of every batch when there are both
    lr: Annotated[float, Field(gt=0)] = 1e-3
    head_lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup: Fraction = 0.05
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # 0 = off
    # keep the statistics of the first weights (random ones have none): a few shots are no sample
    freeze_batch_norm: bool = False
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["fp32", "bf16", "auto"] = (
        "fp32"  # auto: bf16 where a measured step is faster
    )
    checkpoint_every: Count = 200


class QuantizeSettings(Section):
    """Quantization-aware training."""

    mode: Literal["qat", "ptq"] = "qat"
    steps: Annotated[int, Field(ge=0)] = 600
    lr: Annotated[float, Field(gt=0)] = 5e-5
    freeze_at: Fraction = 0.75  # share of the steps after which the observers stop
    calibration_images: Count = 256
    float_blocks: tuple[
        str, ...
    ] = ()  # modules that stay in float, e.g. [blocks.5, head]: see `compress sensitivity`
    checkpoint_every: Count = 100


class ExportSettings(Section):
    """ONNX files and their parity."""

    opset: Annotated[int, Field(ge=18, le=22)] = 20  # 18 is the oldest that torch writes
    parity_images: Count = 256


class BenchSettings(Section):
    """Measurement on this host."""

    seconds: Annotated[float, Field(gt=0)] = 20.0
    threads: tuple[int, ...] = (1,)
    precision: Literal["auto", "fp32", "int8"] = (
        "auto"  # the bundle's default file; auto: what the gates say
    )


class BudgetSettings(Section):
    """Limits, and the search for a student that keeps them (successive halving, Jamieson and
    Talwalkar 2016).
    """

    limits: tuple[str, ...] = ()  # e.g. "p50<=5ms@orin-nano"; () = no budget
    search: bool = True  # False: only judge the build that the other settings describe
    students: tuple[str, ...] = ()  # () = the zoo of the run's world, and distill.student
    sizes: tuple[
        Annotated[int, Field(ge=16, le=1024)], ...
    ] = ()  # () = image.size; smaller ones only if nothing fits
    most: Annotated[int, Field(ge=1)] = (
        6  # candidates that are trained at all, the largest that fit
    )
    rungs: tuple[Share, ...] = (
        0.25,
        0.5,
    )  # shares of distill.steps after which candidates are compared
    keep: Share = 0.5  # of the candidates from one rung to the next
    held_out: Annotated[int, Field(ge=1)] = (
        16  # fresh synthetic images a class that candidates are compared on
    )
    seconds: Annotated[float, Field(gt=0)] = 0.5  # measuring each untrained file on this machine
    calibration: tuple[Path, ...] = ()  # files of `compress estimate --save`


class Settings(Section):
    """A whole run."""

    seed: int = 0
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
    notes: tuple[
        str, ...
    ] = ()  # recorded states, e.g. why a fallback was taken; never part of an identity

    def plain(self) -> dict[str, Any]:
        """The settings as JSON-able values, in pipeline order."""
        return self.model_dump(mode="json")


class HostSettings(Section):
    """How to run, never what comes out: not part of any identity."""

    workers: Count = 2
    device: str = "cpu"
    cache_mb: Annotated[int, Field(ge=0)] = 2048  # RAM for rendered views


def preset_names() -> list[str]:
    """The names accepted by ``--preset``."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_layer(path: Path) -> dict[str, Any]:
    """One YAML file of nested settings."""
    import yaml

    try:
        loaded = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path} cannot be read as YAML",
            got=str(error).splitlines()[0],
            remedy="check the file",
        ) from error
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{path} holds no settings", got=type(loaded).__name__, expected="a mapping of sections"
        )
    return loaded


def preset(name: str) -> dict[str, Any]:
    """The settings of a preset by name."""
    if name not in preset_names():
        raise ConfigError("unknown preset", got=repr(name), remedy=nearest(name, preset_names()))
    return read_layer(PRESETS / f"{name}.yaml")


def world(name: str) -> dict[str, Any]:
    """The settings that say where teacher, generator and student come from: ``embedded`` or
    ``hub``.
    """
    return read_layer(PRESETS / "worlds" / f"{name}.yaml")


def parse_set(assignments: Iterable[str]) -> dict[str, Any]:
    """Turns ``["distill.steps=20"]`` into nested settings; values are read as YAML.

    Raises:
        ConfigError: no ``=`` in an assignment, or a path that names no setting (with the nearest
            one).
    """
    import yaml

    known = list(setting_paths(Settings))
    out: dict[str, Any] = {}
    for text in assignments:
        path, separator, value = text.partition("=")
        if not separator:
            raise ConfigError("--set needs a value", got=repr(text), expected="section.field=value")
        if path not in known:
            raise ConfigError(
                "--set names no setting", got=repr(path), remedy=nearest_path(path, known)
            )
        node = out
        *parents, leaf = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = yaml.safe_load(value)
    return out


def nearest_path(path: str, known: list[str]) -> str:
    """The nearest setting path, compared first within its own section."""
    section = path.partition(".")[0]
    return nearest(path, [name for name in known if name.startswith(section + ".")] or known)


def setting_paths(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    """Every leaf of the settings as a dotted path."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_paths(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, later layers win."""
    out: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = out.get(key)
            out[key] = (
                merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
            )
    return out


def resolve(*layers: Mapping[str, Any]) -> Settings:
    """Validates merged layers into ``Settings``.

    Raises:
        ConfigError: names the path, the value and the nearest valid name.
    """
    merged = merge(*layers)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(
                f"unknown setting {path}", remedy=nearest_path(path, list(setting_paths(Settings)))
            ) from error
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"setting {path or 'data'} is wrong", got=repr(first["input"])[:120], expected=message
        ) from error

"""The settings of the student's training, `distill`; their order and marks are as in `settings`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from compress.engine.config.section import (
    Count,
    CountOrZero,
    Fraction,
    NonNegative,
    Positive,
    Section,
    Some,
    UserPath,
)


class GenddSettings(Section):
    """The denoiser of GenDD; used in training only."""

    token_dim: Some = 64  # width of a chunk; divides the width of the target [C]
    width: Some = 1024  # [C]
    depth: Annotated[int, Field(ge=1, le=1024)] = 3  # residual blocks [C]
    diffusion_steps: Annotated[int, Field(ge=2, le=100_000)] = 1000  # [C]
    repeats: Some = 10  # noise levels per image, chunk and step [C]
    condition_drop: Fraction = 0.2  # [C]
    mixup_beta: NonNegative = 0.0  # feature-space mixup; 0: off, 1 for CNN pairs [C]
    sampling_steps: Annotated[int, Field(ge=2, le=100_000)] = 64  # [C]
    guidance_scale: NonNegative = 2.0  # [C]
    samples: Some = 5  # averaged in feature space [C]
    sample_clip: Positive | None = 10.0  # in standard deviations; None: as in the code [I]
    # stage 1, before the others and as a share of them: 0.2 on ImageNet, none without labels [C]
    pretrain_share: Fraction = 0.0
    pretrain_lr: Positive | None = None  # of stage 1; None: lr, as on ImageNet; CIFAR: 3e-3 [C]


class MetaSettings(Section):
    """Meta-distillation over style groups (CVLM)."""

    # how a step looks ahead over the groups; none: plain distillation
    mode: Literal["none", "exact", "first_order", "reptile"] = "none"
    inner_lr: NonNegative | None = None  # alpha; None: the learning rate of the step [I]
    # largest norm of the inner step's gradient; without, rates of 1e-2 and more can explode [I]
    inner_clip: Positive = 1.0
    warmup: Fraction = 0.05  # share of steps with plain distillation [P3: 10 of 200 epochs]


class DistillSettings(Section):
    """The student and its training."""

    student: str = "mobilenetv4_conv_medium"  # a row of `compress list students`, or any timm model
    activation: str | None = None  # replaces the student's own, e.g. "relu", which int8 fuses
    init: Literal["clip", "timm", "random", "generic"] = "timm"  # first weights of the trunk
    # safetensors of a trunk, or the open_clip folder of a small CLIP
    init_path: UserPath | None = None
    head: Literal["auto", "cosine", "linear"] = "auto"  # auto: cosine for a small CLIP, else linear
    # signed square roots of the pooled features, unless the first head is the network's own rows
    power_norm: bool = False
    train: Literal["all", "head"] = "all"  # head: the trunk is frozen
    feature_steps: CountOrZero = 0  # the first of `steps`: feature distillation without labels
    feature_share: Fraction | None = None  # replaces feature_steps: their share of the updates
    objective: str = "kd"  # a row of `compress list objectives`
    alpha: Fraction = 0.9  # weight of KL; 1 - alpha of CE [I]
    synthetic_ce: bool = False  # CE on synthetic images too; their label is only their prompt
    temperature: Positive = 2.0  # [I]
    # what KL compares: logits, or logits of mean 0 and variance 1 over the classes
    logits: Literal["raw", "standardized"] = "raw"
    # of the term of dist and fd_dist, both correlations alike [P3: beta = gamma = 2]
    dist_weight: NonNegative = 2.0
    # of the head that learns from labels in the one head that dho ships; null: chosen on views of
    # the shots, which the label head knows [I]
    label_share: Fraction | None = 0.5
    feature_weight: NonNegative = 1.0  # of the feature term of fd, fd_kd and their like [I]
    # distance of features: 1 - cosine, or MSE of normalized ones
    feature_loss: Literal["cosine", "mse_norm"] = "cosine"
    logit_weight: NonNegative = 1.0  # of the zero-shot logit term of ld [I]
    condition_weight: NonNegative = 1.0  # of the condition term of cp [I]
    smooth: Fraction = 0.9  # distribution contraction: 0 teacher feature ... 1 class center [C]
    center: Literal["text", "image_mean", "probe_row"] = "probe_row"  # of the contraction [I]
    gendd: GenddSettings = GenddSettings()
    meta: MetaSettings = MetaSettings()
    steps: Count = 6000  # updates of the weights
    epochs: Positive | None = None  # replaces steps: passes over the images of the batches
    batch: Annotated[int, Field(ge=2, le=65_536)] = 128  # views in a step
    real_fraction: Fraction = 0.5  # of a batch, if there are real and synthetic images
    lr: Positive = 1e-3  # highest learning rate of the trunk
    head_lr: Positive = 1e-3  # highest learning rate of the head
    weight_decay: NonNegative = 0.05  # of matrices and kernels
    warmup: Fraction = 0.05  # share of the steps in which the rate rises
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # 0: off
    # keep the statistics of the first weights (random ones have none): a few shots are no sample
    freeze_batch_norm: bool = False
    # statistics in training: of all images, or of real and synthetic ones apart; then the real
    # ones' ship
    batch_norm: Literal["shared", "domain"] = "shared"
    # concentration of the shares in which pixels of real and synthetic images are mixed, and their
    # targets; 0: none
    mixup: NonNegative = 0.0
    grad_clip: Positive = 1.0  # largest norm of the gradient
    optimizer: Literal["adamw", "sgd"] = "adamw"  # AdamW or SGD with momentum
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of sgd
    # Adam's second decay rises from here to 0.999 by a cosine; None: fixed. GenDD: 0.96 [C]
    beta2_start: Annotated[float, Field(ge=0, lt=1)] | None = None
    precision: Literal["fp32", "bf16", "auto"] = "fp32"  # auto: bf16 if a measured step is faster
    checkpoint_every: Count = 200  # steps between two checkpoints

    @model_validator(mode="after")
    def _apart(self) -> DistillSettings:
        for name, value in (("freeze_batch_norm", self.freeze_batch_norm), ("mixup", self.mixup)):
            if self.batch_norm == "domain" and value:
                raise ValueError(f"batch_norm=domain has statistics to part, not with {name}")
        return self

    @model_validator(mode="after")
    def _adams_own(self) -> DistillSettings:
        if self.beta2_start is not None and self.optimizer != "adamw":
            raise ValueError(f"beta2_start is Adam's, and optimizer is {self.optimizer}")
        return self

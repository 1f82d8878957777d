"""A small diffusion model of feature chunks: schedule, denoiser, hybrid loss, ancestral sampling.

This is the diffusion of MAR's ``DiffLoss`` (Li et al. 2024, arXiv 2406.11838), which follows
improved DDPM (Nichol & Dhariwal 2021, arXiv 2102.09672): cosine schedule, epsilon prediction, a
variance learned between its two bounds, and the loss

    MSE(eps, eps_hat) + VLB        per row, means over the d dimensions; VLB in bits per dimension

where the mean is detached inside the VLB, so that it trains the variance alone, and the VLB is not
rescaled by T.

Two points differ from the reference code on purpose. Its index 0 scores pixels (a Gaussian in bins
of 1/255 whose outer bins start at +-0.999); features are neither 8 bit nor bounded, so index 0 is a
Gaussian density here. And one row of the time embedding serves a whole batch at one index, as in
sampling.

Shapes: N rows (image x chunk x repeat), d of a chunk, F of the condition, w width, T steps.
[C] marks values of the reference code, [I] our own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from compress.engine.errors import ConfigError

FREQUENCIES = 256  # width of the sinusoid of t [C]
NORM_EPS = 1e-6  # of the layer norms [C]
TIME_STD = 0.02  # of the first weights of the time MLP [C]
MAX_BETA = 0.999  # Nichol & Dhariwal 2021, section 3.2


class NoiseSchedule(nn.Module):
    """Tables ``(T,)`` that follow from ``alpha_bar``, looked up at indices ``t (N,)`` int64.

    Args:
        alpha_bar: ``(T,)`` float64, falling.
        timesteps: ``(T,)`` int64, the denoiser's input at each index; not the index itself after
            respacing.
    """

    signal: Tensor  # sqrt(alpha_bar)
    noise: Tensor  # sqrt(1 - alpha_bar)
    log_beta: Tensor
    posterior_log_variance: Tensor
    x0_share: Tensor  # of the posterior's mean
    xt_share: Tensor
    timesteps: Tensor

    def __init__(self, alpha_bar: Tensor, timesteps: Tensor) -> None:
        super().__init__()
        before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
        betas = 1 - alpha_bar / before
        variance = betas * (1 - before) / (1 - alpha_bar)
        variance[0] = variance[1]  # the first is zero, whose log is not finite
        tables = {
            "signal": alpha_bar.sqrt(),
            "noise": (1 - alpha_bar).sqrt(),
            "log_beta": betas.log(),
            "posterior_log_variance": variance.log(),
            "x0_share": betas * before.sqrt() / (1 - alpha_bar),
            "xt_share": (1 - before) * (1 - betas).sqrt() / (1 - alpha_bar),
        }
        for name, table in tables.items():
            self.register_buffer(name, table.float(), persistent=False)
        self.register_buffer("timesteps", timesteps, persistent=False)
        self.alpha_bar = alpha_bar  # stays float64 and on the CPU, to be respaced

    @classmethod
    def cosine(cls, steps: int) -> NoiseSchedule:
        """``cos^2((t / T + 0.008) / 1.008 * pi / 2)``, Nichol & Dhariwal 2021, equation 17."""
        at = torch.arange(steps + 1, dtype=torch.float64) / steps
        curve = ((at + 0.008) / 1.008 * math.pi / 2).cos() ** 2
        betas = (1 - curve[1:] / curve[:-1]).clamp(max=MAX_BETA)
        return cls((1 - betas).cumprod(0), torch.arange(steps))

    def __len__(self) -> int:
        return len(self.timesteps)

    def respaced(self, steps: int) -> NoiseSchedule:
        """``steps`` evenly spread indices, first and last included; ConfigError if too many."""
        if not 2 <= steps <= len(self):
            expected = f"2..{len(self)}, or more distill.gendd.diffusion_steps"
            got = f"sampling_steps={steps}"
            raise ConfigError("the sampler cannot take so many steps", got=got, expected=expected)
        kept = torch.linspace(0, len(self) - 1, steps, dtype=torch.float64).round().long()
        respaced = NoiseSchedule(self.alpha_bar[kept], self.timesteps.cpu()[kept])
        return respaced.to(self.signal.device)

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """``x_t (N, d) = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise``."""
        return self.signal[t, None] * x0 + self.noise[t, None] * noise

    def predict_x0(self, x_t: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """The signal ``(N, d)`` that ``epsilon`` leaves in ``x_t``: inverts :meth:`q_sample`."""
        return (x_t - self.noise[t, None] * epsilon) / self.signal[t, None]

    def posterior_mean(self, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The mean ``(N, d)`` of ``q(x_{t-1} | x_t, x0)``."""
        return self.x0_share[t, None] * x0 + self.xt_share[t, None] * x_t

    def log_variance(self, t: Tensor, logits: Tensor) -> Tensor:
        """The learned log-variance ``(N, d)``, linear: the posterior's at -1, beta's at +1."""
        share = (logits + 1) / 2
        return share * self.log_beta[t, None] + (1 - share) * self.posterior_log_variance[t, None]


class _ResidualBlock(nn.Module):
    """Residual block whose layer norm is shifted, scaled and gated by ``y (N, w)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(y).chunk(3, -1)
        out: Tensor = x + gate * self.mlp(self.norm(x) * (1 + scale) + shift)
        return out


class Denoiser(nn.Module):
    """Noise and variance logits, ``(N, d)`` each, of noisy chunks ``x_t (N, d)``.

    Call: ``(x_t, t (N,) or (1,), condition (N, F), chunk (N,))``.

    MAR's SimpleMLPAdaLN with an embedding of the chunk's index. Modulations and output start at
    zero, so the first prediction is zero noise and the first MSE is one.
    """

    def __init__(self, token_dim: int, chunks: int, condition: int, width: int, depth: int) -> None:
        super().__init__()
        self.token_dim = token_dim
        self.input = nn.Linear(token_dim, width)
        self.time = nn.Sequential(nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = nn.Linear(condition, width)
        self.chunk = nn.Embedding(chunks, width)
        self.blocks = nn.ModuleList(_ResidualBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, 2 * token_dim)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.chunk.weight, std=TIME_STD)  # [I]
        for name, weight in self.named_parameters():
            if name in ("time.0.weight", "time.2.weight"):
                nn.init.normal_(weight, std=TIME_STD)
            if name.endswith("modulation.weight") or name == "output.weight":
                nn.init.zeros_(weight)

    def forward(
        self, x_t: Tensor, t: Tensor, condition: Tensor, chunk: Tensor
    ) -> tuple[Tensor, Tensor]:
        y = self.time(sinusoid(t)) + self.condition(condition) + self.chunk(chunk)
        y = nn.functional.silu(y)
        x = self.input(x_t)
        for block in self.blocks:
            x = block(x, y)
        shift, scale = self.modulation(y).chunk(2, -1)
        epsilon, logits = self.output(self.norm(x) * (1 + scale) + shift).chunk(2, -1)
        return epsilon.float(), logits.float()


def sinusoid(t: Tensor, width: int = FREQUENCIES, longest: float = 10_000.0) -> Tensor:
    """Embeds indices ``(N,)`` as ``(N, width)``: cosines, then sines, frequencies 1..1/longest."""
    half = width // 2
    frequencies = torch.exp(-math.log(longest) * torch.arange(half, device=t.device) / half)
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def hybrid_loss(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    x0: Tensor,
    t: Tensor,
    noise: Tensor,
    condition: Tensor,
    chunk: Tensor,
) -> tuple[Tensor, Tensor]:
    """``mse (N,)`` and ``vlb (N,)`` in bits per dimension; their sum is the loss of a row.

    Args:
        x0, noise: clean chunks and standard normal noise, ``(N, d)``.
        t, chunk: ``(N,)`` int64, indices into the schedule and of each row's chunk.
        condition: ``(N, F)``; a row of zeros is "no condition".
    """
    x_t = schedule.q_sample(x0, t, noise)
    epsilon, logits = denoiser(x_t, schedule.timesteps[t], condition, chunk)
    mse = (epsilon - noise).square().mean(-1)
    mean = schedule.posterior_mean(schedule.predict_x0(x_t, t, epsilon.detach()), x_t, t)
    true = schedule.posterior_mean(x0, x_t, t)
    log_p = schedule.log_variance(t, logits)
    log_q = schedule.posterior_log_variance[t, None]
    kl = 0.5 * (log_p - log_q - 1 + (log_q - log_p).exp() + (true - mean).square() * (-log_p).exp())
    density = 0.5 * (math.log(2 * math.pi) + log_p + (x0 - mean).square() * (-log_p).exp())
    return mse, torch.where((t == 0)[:, None], density, kl).mean(-1) / math.log(2)


def guided(
    denoiser: Denoiser, x_t: Tensor, t: Tensor, condition: Tensor, chunk: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Classifier-free guidance of epsilon, ``eps_u + scale * (eps_c - eps_u)``, and the logits.

    The variance logits are the conditional ones; at scale 1 eps_u is not computed.
    """
    epsilon, logits = denoiser(x_t, t, condition, chunk)
    if scale == 1:
        return epsilon, logits
    blind, _ = denoiser(x_t, t, torch.zeros_like(condition), chunk)
    return torch.lerp(blind, epsilon, scale), logits


@torch.no_grad()
def ancestral_sample(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    condition: Tensor,
    chunk: Tensor,
    *,
    guidance_scale: float = 1.0,
    temperature: float = 1.0,
    clip: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Chunks ``(N, d)`` drawn by DDPM's ancestral steps over the indices, from last to first.

    Args:
        temperature: multiplies the noise of every step, but not the first noise (as in MAR).
        clip: limit of every step's estimate of x0; None = no limit, as in MAR. The last index has
            hardly any signal, and dividing by it magnifies an error of epsilon (x 500 at 64 of 1000
            steps) beyond what a briefly trained denoiser recovers from.
        generator: on the condition's device; None = torch's global one.
    """

    def draw() -> Tensor:
        shape = (len(condition), denoiser.token_dim)
        return torch.randn(
            shape, generator=generator, device=condition.device, dtype=condition.dtype
        )

    x_t = draw()
    for index in range(len(schedule) - 1, -1, -1):
        t = torch.tensor([index], device=condition.device)
        timestep = schedule.timesteps[t]
        epsilon, logits = guided(denoiser, x_t, timestep, condition, chunk, guidance_scale)
        x0 = schedule.predict_x0(x_t, t, epsilon)
        mean = schedule.posterior_mean(x0 if clip is None else x0.clamp(-clip, clip), x_t, t)
        noise = draw() if index else torch.zeros_like(mean)
        x_t = mean + temperature * (0.5 * schedule.log_variance(t, logits)).exp() * noise
    return x_t

"""The embedded generator: CLIP embeddings in, 32 px images out; the small sibling of Kandinsky
2.2's prior and decoder.

Every image comes from its own seed, and every network call has one fixed shape (short batches are
padded), so an image is the same, byte for byte, whichever images it is made together with. It may
differ between thread counts, machines and library versions in the last bit, as convolutions do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional

from compress.engine.arithmetic import bf16_pays
from compress.engine.errors import DataError
from compress.petals.nets import EMBED_DIM, EMBED_SCALE, INPUT_SIZE, PetalPrior, pixels
from compress.petals.weights import WEIGHTS, load_teacher

CHUNK = 32  # images per network call


class PetalsGenerator:
    """The embedded generator behind the same small interface as Kandinsky 2.2."""

    name = "petals"
    image_size = INPUT_SIZE
    embed_dim = EMBED_DIM

    def __init__(
        self,
        folder: Path = WEIGHTS,
        *,
        device: str = "cpu",
        precision: Literal["auto", "fp32", "bf16"] = "auto",
    ) -> None:
        self.folder, self.device = Path(folder), torch.device(device)
        self.precision = (
            ("bf16" if bf16_pays(self.device) else "fp32") if precision == "auto" else precision
        )
        for part in ("unet", "prior", "scheduler"):
            if not (self.folder / part).is_dir():
                raise DataError(
                    "a part of the embedded generator is missing",
                    got=str(self.folder / part),
                    remedy="reinstall the package, or make it: python -m "
                    "benchmarks.petals_training.train",
                )
        teacher, self._tokenize = load_teacher(self.folder)
        self._teacher = teacher.to(self.device, memory_format=torch.channels_last)
        unet = UNet2DConditionModel.from_pretrained(self.folder / "unet", torch_dtype=torch.float32)
        prior = PetalPrior.from_pretrained(self.folder / "prior", torch_dtype=torch.float32)
        self._unet = (
            unet.to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        )
        self._prior = prior.to(self.device).eval().requires_grad_(False)
        self._scheduler_config = dict(
            DDIMScheduler.from_pretrained(self.folder / "scheduler").config
        )

    def fingerprint(self) -> str:
        """Hex digest over the files of the generator and what else decides its pixels."""
        digest = hashlib.sha256(f"{self.name} {CHUNK} {self.precision} {self.device.type}".encode())
        for part in ("unet", "prior", "scheduler", "teacher"):
            for path in sorted((self.folder / part).iterdir()):
                digest.update(
                    path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest()
                )
        return digest.hexdigest()

    @torch.no_grad()
    def embed_images(self, images: np.ndarray) -> Tensor:
        """Unit image embeddings (N, D) of uint8 images (N, 32, 32, 3)."""
        if (
            images.ndim != 4
            or images.shape[1:] != (INPUT_SIZE, INPUT_SIZE, 3)
            or images.dtype != np.uint8
        ):
            raise DataError(
                "the embedded generator takes small images",
                got=f"{images.dtype} {images.shape}",
                expected=f"uint8 (N, {INPUT_SIZE}, {INPUT_SIZE}, 3)",
            )

        def embed(batch: Tensor) -> Tensor:
            return functional.normalize(self._teacher.encode_image(batch), dim=-1)

        return self._by_chunks(
            embed, pixels(images, self.device).contiguous(memory_format=torch.channels_last)
        )

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Unit image embeddings (N, D): one draw of the prior per text, from its own seed."""
        noise = _noises(seeds, (EMBED_DIM,))

        def embed(tokens: Tensor, noise: Tensor) -> Tensor:
            return self._prior(
                functional.normalize(self._teacher.encode_text(tokens), dim=-1), noise
            )

        return self._by_chunks(embed, self._tokenize(texts), noise)

    @torch.no_grad()
    def decode(
        self,
        embeds: Tensor,
        seeds: Sequence[int],
        steps: int = 12,
        guidance_scale: float = 1.5,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Images uint8 (N, 32, 32, 3) for embeddings (N, D), image i from the noise of
        ``seeds[i]``.

        The images lack the sensor noise of photos (the last step lands on a mean): training on them
        wants noisy views. ``guidance_scale`` 1 switches guidance off and halves the work.
        ``progress`` is told how many images were finished since its last call.
        """
        noise = _noises(seeds, (12, INPUT_SIZE // 2, INPUT_SIZE // 2))

        def sample(condition: Tensor, x: Tensor) -> Tensor:
            return self._sample(condition * EMBED_SCALE, x, steps, guidance_scale)

        images = self._by_chunks(
            sample, functional.normalize(embeds.float(), dim=-1), noise, progress=progress
        )
        return (
            ((images.clamp(-1, 1) + 1) * 127.5)
            .round()
            .to(torch.uint8)
            .permute(0, 2, 3, 1)
            .contiguous()
            .numpy()
        )

    def _sample(self, condition: Tensor, x: Tensor, steps: int, guidance_scale: float) -> Tensor:
        """DDIM from noise x (B, 12, 16, 16) to images (B, 3, 32, 32) in about [-1, 1]."""
        scheduler = DDIMScheduler.from_config(self._scheduler_config)
        scheduler.set_timesteps(steps)
        guided = guidance_scale != 1
        if guided:
            condition = torch.cat((condition, torch.zeros_like(condition)))
        for time in scheduler.timesteps:
            batch = (torch.cat((x, x)) if guided else x).contiguous(
                memory_format=torch.channels_last
            )
            with self._autocast():
                velocity = self._unet(
                    batch, time, None, added_cond_kwargs={"image_embeds": condition}
                ).sample
            velocity = velocity.float()
            if guided:
                told, free = velocity.chunk(2)
                velocity = free + guidance_scale * (told - free)
            x = scheduler.step(velocity, time, x).prev_sample
        return functional.pixel_shuffle(x, 2)

    def _autocast(self) -> AbstractContextManager[object]:
        return (
            torch.autocast(self.device.type, torch.bfloat16)
            if self.precision == "bf16"
            else nullcontext()
        )

    def _by_chunks(
        self,
        call: Callable[..., Tensor],
        *rows: Tensor,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """``call`` on batches of exactly ``CHUNK`` rows, the last one filled up with copies;
        results on the CPU.
        """
        count = len(rows[0])
        if any(len(part) != count for part in rows):
            raise DataError("as many seeds are needed as rows", got=[len(part) for part in rows])
        if not count:
            raise DataError("nothing to generate", got="0 rows", expected="at least one")
        out = []
        for start in range(0, count, CHUNK):
            chosen = torch.arange(start, start + CHUNK).clamp(max=count - 1)
            real = min(CHUNK, count - start)
            out.append(
                call(*(part[chosen.to(part.device)].to(self.device) for part in rows)).cpu()[:real]
            )
            if progress is not None:
                progress(real)
        return torch.cat(out)


def _noises(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise (N, *shape), each row from its own seed; drawn on the CPU whatever the
    device.
    """
    rows = [
        torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds
    ]
    return torch.stack(rows) if rows else torch.empty(0, *shape)

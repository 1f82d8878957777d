"""The embedded generator: CLIP embeddings in, 32 px images out, as Kandinsky 2.2 does at 512.

Every image comes from its own seed, and every network call has one fixed shape (short batches are
padded), so an image has the same bytes in any batch. It may differ between thread counts, machines
and library versions in the last bit, as convolutions do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import diffusers
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
    """The embedded generator, with the same interface as Kandinsky 2.2."""

    name = "petals"
    image_size = INPUT_SIZE
    embed_dim = EMBED_DIM

    def __init__(
        self,
        folder: Path = WEIGHTS,
        *,
        device: str = "cpu",
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        scheduler: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.device = torch.device(device)
        fastest = "bf16" if bf16_pays(self.device) else "fp32"
        self.precision = fastest if precision == "auto" else precision
        for part in ("unet", "prior", "scheduler"):
            if not (self.folder / part).is_dir():
                what = f"the {part} of the embedded generator is missing"
                raise DataError(what, got=str(self.folder), remedy="reinstall the package")
        teacher, self._tokenize = load_teacher(self.folder)
        self._teacher = teacher.to(self.device, memory_format=torch.channels_last)
        unet = UNet2DConditionModel.from_pretrained(self.folder / "unet", torch_dtype=torch.float32)
        unet = unet.to(self.device, memory_format=torch.channels_last)
        self._unet = unet.eval().requires_grad_(False)
        prior = PetalPrior.from_pretrained(self.folder / "prior", torch_dtype=torch.float32)
        self._prior = prior.to(self.device).eval().requires_grad_(False)
        trained = DDIMScheduler.from_pretrained(self.folder / "scheduler").config
        kind = getattr(diffusers, scheduler or DDIMScheduler.__name__)
        self._scheduler = lambda: kind.from_config(trained)

    def fingerprint(self) -> str:
        """Hex digest over the files of the generator and what else decides its pixels."""
        digest = hashlib.sha256(f"{self.name} {CHUNK} {self.precision} {self.device.type}".encode())
        for part in ("unet", "prior", "scheduler", "teacher"):
            for path in sorted((self.folder / part).iterdir()):
                content = hashlib.sha256(path.read_bytes()).digest()
                digest.update(path.name.encode() + b"\0" + content)
        return digest.hexdigest()

    @torch.no_grad()
    def embed_images(self, images: np.ndarray) -> Tensor:
        """Unit image embeddings (N, D) of uint8 images (N, 32, 32, 3)."""
        if images.shape[1:] != (INPUT_SIZE, INPUT_SIZE, 3) or images.dtype != np.uint8:
            got = f"{images.dtype} {images.shape}"
            expected = f"uint8 (N, {INPUT_SIZE}, {INPUT_SIZE}, 3)"
            raise DataError("the generator takes small images", got=got, expected=expected)

        def embed(batch: Tensor) -> Tensor:
            return functional.normalize(self._teacher.encode_image(batch), dim=-1)

        rows = pixels(images, self.device).contiguous(memory_format=torch.channels_last)
        return self._by_chunks(embed, rows)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Unit image embeddings (N, D): one draw of the prior per text, from its own seed."""
        noise = _noises(seeds, (EMBED_DIM,))

        def embed(tokens: Tensor, noise: Tensor) -> Tensor:
            text = functional.normalize(self._teacher.encode_text(tokens), dim=-1)
            return self._prior(text, noise)

        return self._by_chunks(embed, self._tokenize(texts), noise)

    @torch.no_grad()
    def decode(
        self,
        embeds: Tensor,
        seeds: Sequence[int],
        steps: int = 12,
        guidance_scale: float = 1.5,
        guided: Callable[[int], bool] = lambda step: True,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Images uint8 (N, 32, 32, 3) of embeddings (N, D), image i from the noise of ``seeds[i]``.

        The images lack the sensor noise of photos (the last step lands on a mean), so training on
        them should use noisy views. ``guidance_scale`` 1 switches guidance off and halves the work,
        as ``guided`` does for the steps, counted from the noise, that it refuses.
        ``progress`` receives the number of images finished since its last call.
        """
        noise = _noises(seeds, (12, INPUT_SIZE // 2, INPUT_SIZE // 2))

        def sample(condition: Tensor, x: Tensor) -> Tensor:
            return self._sample(condition * EMBED_SCALE, x, steps, guidance_scale, guided)

        unit = functional.normalize(embeds.float(), dim=-1)
        images = self._by_chunks(sample, unit, noise, progress=progress)
        levels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return levels.permute(0, 2, 3, 1).contiguous().numpy()

    def _sample(
        self,
        condition: Tensor,
        x: Tensor,
        steps: int,
        guidance_scale: float,
        guided: Callable[[int], bool],
    ) -> Tensor:
        """From noise x (B, 12, 16, 16) to images (B, 3, 32, 32) in about [-1, 1]."""
        scheduler = self._scheduler()
        scheduler.set_timesteps(steps)
        both = torch.cat((condition, torch.zeros_like(condition)))
        for step, time in enumerate(scheduler.timesteps):
            here = guidance_scale != 1 and guided(step)
            batch = torch.cat((x, x)) if here else x
            batch = batch.contiguous(memory_format=torch.channels_last)
            embeds = {"image_embeds": both if here else condition}
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                velocity = self._unet(batch, time, None, added_cond_kwargs=embeds).sample.float()
            if here:
                conditional, free = velocity.chunk(2)
                velocity = free + guidance_scale * (conditional - free)
            x = scheduler.step(velocity, time, x).prev_sample
        return functional.pixel_shuffle(x, 2)

    def _by_chunks(
        self,
        call: Callable[..., Tensor],
        *rows: Tensor,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """``call`` on batches of exactly ``CHUNK`` rows, the last one padded with copies."""
        count = len(rows[0])
        if any(len(part) != count for part in rows):
            raise DataError("as many seeds are needed as rows", got=[len(part) for part in rows])
        if not count:
            raise DataError("nothing to generate", got="0 rows", expected="at least one")
        out = []
        for start in range(0, count, CHUNK):
            index = torch.arange(start, start + CHUNK).clamp(max=count - 1)
            real = min(CHUNK, count - start)
            batch = (part[index.to(part.device)].to(self.device) for part in rows)
            out.append(call(*batch).cpu()[:real])
            if progress is not None:
                progress(real)
        return torch.cat(out)


def _noises(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise (N, *shape), each row from its own seed, always drawn on the CPU."""
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(int(s))) for s in seeds]
    return torch.stack(rows) if rows else torch.empty(0, *shape)

"""Claim: on a GPU the defaults make at least twice as many images a second as the plain call.

    python -m benchmarks.gpu_generation --device cuda       # about 4 minutes on one card

Kandinsky 2.2 by the shapes of its published networks with random weights: time and memory do not
depend on their values. The plain call is that of its model card, an image at a time in fp16; ours
is the generator that `compress build` loads, with its default settings. Both from text to pixels.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import page
from compress.api import settings_for
from compress.cost.published import published
from compress.engine.config import GenerateSettings
from compress.generate.generators.generator import Sampling
from compress.generate.generators.kandinsky import Kandinsky

GENERATOR = "kandinsky-2.2"
TEXT = "a photo of a rose"
CARD_EDGE, CARD_STEPS = 768, 50
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
DTYPES["auto"] = DTYPES["bf16"]  # on a GPU
#: the published decoder's; it predicts a variance
DECODER_SCHEDULE: dict[str, Any] = {
    "beta_schedule": "linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "variance_type": "learned_range",
    "clip_sample": False,
    "thresholding": True,
    "sample_max_value": 2.0,
}
#: and the published prior's
PRIOR_SCHEDULE: dict[str, Any] = {
    "variance_type": "fixed_small_log",
    "prediction_type": "sample",
    "num_train_timesteps": 1000,
    "clip_sample": True,
    "clip_sample_range": 10.0,
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Speed:
    """Images a second, the most memory on the GPU, and the share of its time that it was busy."""

    images_per_s: float
    peak_gib: float | None
    busy: float | None


def save_tokenizer(folder: Path) -> None:
    """A byte-level CLIP vocabulary without merges: every letter is a token."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    words = ["<|startoftext|>", "<|pad|>", "<|endoftext|>", *LETTERS]
    words += [f"{letter}</w>" for letter in LETTERS]
    vocabulary = {word: number for number, word in enumerate(words)}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(folder)


def pipelines(parts: Mapping[str, Any], device: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Prior and decoder with random weights."""
    import diffusers
    import transformers

    def network(config: Mapping[str, Any]) -> Any:
        with torch.device(device):
            if "_class_name" in config:
                made = getattr(diffusers, config["_class_name"]).from_config(dict(config))
            else:
                name = config["architectures"][0]
                kind = "CLIPTextConfig" if "Text" in name else "CLIPVisionConfig"
                made = getattr(transformers, name)(getattr(transformers, kind)(**config))
        return made.to(dtype).eval()

    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(Path(folder))
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    side = int(parts["image_encoder"].get("image_size", 224))
    square = {"height": side, "width": side}
    prior = diffusers.KandinskyV22PriorPipeline(
        prior=network(parts["prior"]),
        image_encoder=network(parts["image_encoder"]),
        text_encoder=network(parts["text_encoder"]),
        tokenizer=tokenizer,
        scheduler=diffusers.UnCLIPScheduler(**PRIOR_SCHEDULE),
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": side}, crop_size=square
        ),
    )
    decoder = diffusers.KandinskyV22Pipeline(
        unet=network(parts["unet"]),
        movq=network(parts["movq"]),
        scheduler=diffusers.DDPMScheduler(**DECODER_SCHEDULE),
    )
    made: tuple[Any, Any] = (prior, decoder)
    for pipeline in made:
        pipeline.set_progress_bar_config(disable=True)
    return made


def plain_call(prior: Any, decoder: Any, edge: int, steps: int) -> Callable[[], int]:
    """An image as the model card makes one."""

    def call() -> int:
        embeds, negative = prior(TEXT, guidance_scale=1.0).to_tuple()
        decoder(
            image_embeds=embeds,
            negative_image_embeds=negative,
            height=edge,
            width=edge,
            num_inference_steps=steps,
            output_type="np",
        )
        return 1

    return call


def our_call(prior: Any, decoder: Any, settings: GenerateSettings) -> Callable[[], int]:
    """A batch as the strategies ask for one."""
    from compress.generate.generators.pipelines import set_scheduler

    if settings.scheduler is not None:
        set_scheduler(decoder, settings.scheduler, Kandinsky.schedulers)
    generator = Kandinsky((prior, decoder), settings)
    sampling = Sampling(
        settings.steps, settings.guidance_scale, interval=settings.guidance_interval
    )

    def call() -> int:
        seeds = list(range(settings.batch))
        return len(generator.draw([TEXT] * settings.batch, seeds, sampling))

    return call


def measure(call: Callable[[], int], seconds: float, device: str) -> Speed:
    """Calls for about so many seconds, after one that warms up."""
    cuda = device.startswith("cuda")
    call()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    images = 0
    busy: list[float] = []
    begin = time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        images += call()
        if cuda:
            torch.cuda.synchronize()
            with contextlib.suppress(RuntimeError, ImportError):  # needs NVML's bindings
                busy.append(torch.cuda.utilization() / 100)
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else None
    return Speed(images / spent, peak, float(np.mean(busy)) if busy else None)


def defaults() -> GenerateSettings:
    """Of a build with the published generator."""
    whole = settings_for(classes=["a", "b"], teacher="ViT-L-14/openai", generator=GENERATOR)
    return whole.generate


def compare(
    parts: Mapping[str, Any],
    settings: GenerateSettings,
    device: str,
    seconds: float,
    card: tuple[int, int] = (CARD_EDGE, CARD_STEPS),
) -> dict[str, Speed]:
    """The plain call and ours on the same networks, each in its own precision."""
    half = torch.float16 if device.startswith("cuda") else torch.float32
    prior, decoder = pipelines(parts, device, half)
    plain = measure(plain_call(prior, decoder, *card), seconds, device)
    dtype = DTYPES[settings.dtype] if device.startswith("cuda") else torch.float32
    prior.to(dtype=dtype)
    decoder.to(dtype=dtype)
    return {"plain": plain, "ours": measure(our_call(prior, decoder, settings), seconds, device)}


def report(speeds: Mapping[str, Speed], device: str) -> str:
    """The page."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else page.cpu()
    rows = [
        (
            which,
            f"{speed.images_per_s:.3f}",
            f"{speed.images_per_s / speeds['plain'].images_per_s:.1f}×",
            "-" if speed.peak_gib is None else f"{speed.peak_gib:.1f}",
            "-" if speed.busy is None else f"{speed.busy:.0%}",
        )
        for which, speed in speeds.items()
    ]
    return f"""# Generation on a GPU: Kandinsky 2.2, the model card's call and the defaults

`python -m benchmarks.gpu_generation --device {device}`

{page.table("call | images/s | faster | memory, GiB | busy", rows)}

Random weights in the published shapes. Settings: {json.dumps(defaults().model_dump(mode="json"))}.
{name}; {page.library_versions()}.
"""


def main() -> None:
    """Measures and writes the page."""
    parser = page.options("gpu_generation", __doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each call")
    args = parser.parse_args()
    parts = published()[GENERATOR]["parts"]
    page.write(args.out, report(compare(parts, defaults(), args.device, args.seconds), args.device))


if __name__ == "__main__":
    main()

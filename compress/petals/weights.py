"""The shipped weights and their loaders; fp16 on disk, fp32 in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.engine.errors import DataError

if TYPE_CHECKING:
    import open_clip
    import torch

CLIP_VOCABULARY = 49408  # rows; the last two are start and end of text
WEIGHTS = Path(__file__).parent / "weights"
TEACHER = "teacher"
STUDENT_CLIP = "student_clip.safetensors"
STUDENT_GENERIC = "student_generic.safetensors"


class Tokenizer:
    """CLIP's byte-pair tokenizer on the small vocabulary of the teacher.

    The ids of the 49,408-row vocabulary that captions use are kept in ascending order and
    renumbered densely, so that the end-of-text id stays the largest and open_clip's argmax pooling
    still finds it. A word with any unknown piece is left out of the prompt: any replacement would
    be a guess.
    """

    def __init__(self, ids: Sequence[int], context_length: int = 24) -> None:
        self.ids = tuple(ids)
        self.context_length = context_length
        self._dense = {wide: dense for dense, wide in enumerate(self.ids)}
        self._encode = byte_pair_encoder()

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Token ids int64 (B, context_length): start, words, end, zeros; cut as CLIP cuts."""
        import torch

        texts = [texts] if isinstance(texts, str) else list(texts)
        out = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        end = len(self.ids) - 1
        for row, text in zip(out, texts, strict=True):
            words = [self._encode(word) for word in words_of(text)]
            known = [pieces for pieces in words if all(piece in self._dense for piece in pieces)]
            ids = [self._dense[piece] for pieces in known for piece in pieces]
            tokens = [end - 1, *ids[: self.context_length - 2], end]
            row[: len(tokens)] = torch.tensor(tokens)
        return out


def words_of(text: str) -> list[str]:
    """Lower-case words and single punctuation marks."""
    for mark in ",-.":
        text = text.replace(mark, f" {mark} ")
    return text.lower().replace("_", " ").split()


@cache
def byte_pair_encoder() -> Callable[[str], tuple[int, ...]]:
    """CLIP's token ids of a word; remembers words."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    return cache(lambda word: tuple(tokenizer.encode(word)))


def load_teacher(folder: Path = WEIGHTS) -> tuple[open_clip.CLIP, Tokenizer]:
    """The CLIP teacher in eval mode (fp32, frozen) and its tokenizer.

    A folder without vocabulary.json holds CLIP's whole vocabulary, as any loader of open_clip's
    format expects it.
    """
    from compress.petals.nets import new_teacher

    vocabulary = folder / TEACHER / "vocabulary.json"
    whole = not vocabulary.is_file() and (folder / TEACHER / "open_clip_config.json").is_file()
    tokenizer = Tokenizer(range(CLIP_VOCABULARY) if whole else read_json(vocabulary)["ids"])
    model = new_teacher(len(tokenizer.ids))
    model.load_state_dict(read_tensors(folder / TEACHER / "open_clip_model.safetensors"))
    return model.eval().requires_grad_(False), tokenizer


def load_student_clip(folder: Path = WEIGHTS) -> dict[str, torch.Tensor]:
    """The student CLIP: ``trunk.*`` of petal_cnn, ``proj.weight`` (D, F) and ``logit_scale``."""
    return read_tensors(folder / STUDENT_CLIP)


def load_student_generic(folder: Path = WEIGHTS) -> dict[str, torch.Tensor]:
    """``trunk.*`` of petal_cnn trained on color x shape labels, as others are on ImageNet."""
    return read_tensors(folder / STUDENT_GENERIC)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """A safetensors file with its floating tensors in fp32."""
    from safetensors.torch import load_file

    _must_exist(path)
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(path).items()
    }


def read_json(path: Path) -> Any:
    """A JSON file of the weights folder."""
    _must_exist(path)
    return json.loads(path.read_text(encoding="utf-8"))


def _must_exist(path: Path) -> None:
    if not path.is_file():
        what = "a file of the embedded world is missing"
        raise DataError(what, got=str(path), remedy="reinstall the package")

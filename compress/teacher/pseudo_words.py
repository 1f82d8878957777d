"""Words that are vectors: prompts in which one token's embedding is replaced, with gradients to it
(systems C and E).

A prompt says where with ``{style}``. It is tokenized with an ordinary word in that place, and while
the text tower reads it, a hook on the tower's token embedding puts the given vectors there. The
tower's own forward runs, so this holds for open_clip's CLIP, its CustomTextCLIP and the Hugging
Face text towers inside it alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.engine.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.teacher.clip import Teacher

SLOT = "{style}"
#: ordinary words to hold the place; the first that is one token of the teacher's and does not occur
#: in the prompt is used
FILLERS = (
    "photo",
    "picture",
    "drawing",
    "painting",
    "red",
    "flower",
    "night",
    "fog",
    "style",
    "thing",
    "dog",
)


@dataclass(frozen=True)
class Slots:
    """Tokenized prompts ``(N, L)`` and, for each, the position ``(N,)`` whose embedding is to be
    given.
    """

    tokens: Tensor
    positions: Tensor

    def rows(self, chosen: Sequence[int]) -> Slots:
        """The prompts in ``chosen``, in that order."""
        import torch

        index = torch.as_tensor(list(chosen), device=self.tokens.device)
        return Slots(self.tokens[index], self.positions[index])


def token_embedding(teacher: Teacher) -> nn.Module:
    """The module that turns token ids into vectors; its ``weight`` is the table ``(V, d)``.

    Raises:
        ConfigError: a text tower of an unknown build.
    """
    text: Any = getattr(teacher.model, "text", teacher.model)
    found: nn.Module | None = getattr(text, "token_embedding", None)
    if found is None and hasattr(text, "transformer"):
        found = text.transformer.get_input_embeddings()
    if found is None:
        raise ConfigError(
            "this teacher's text tower has no token embedding", got=type(text).__name__
        )
    return found


def token_table(teacher: Teacher) -> Tensor:
    """The table of token embeddings ``(V, d)``, float32."""
    table: Any = token_embedding(teacher).weight
    rows: Tensor = table.detach().float()
    return rows


def word_vectors(teacher: Teacher, words: Sequence[str]) -> Tensor:
    """``(N, d)``: for each word or phrase the mean of its tokens' embeddings.

    Raises:
        ConfigError: a word of which the teacher's tokenizer knows nothing.
    """
    import torch

    table, (empty,) = token_table(teacher), _tokenized(teacher, [""])
    out = []
    for word, row in zip(words, _tokenized(teacher, words), strict=True):
        start, count = inserted(row, empty)
        if not count:
            raise ConfigError(
                "the teacher has never read this style word",
                got=repr(word),
                expected="a word it knows",
            )
        out.append(table[torch.tensor(row[start : start + count], device=table.device)].mean(0))
    return torch.stack(out)


def slots(teacher: Teacher, prompts: Sequence[str]) -> Slots:
    """Tokenizes prompts that say ``{style}`` once each.

    Raises:
        ConfigError: a prompt without (or with two) ``{style}``, or one whose place cannot be found:
            too long, or the tokenizer has none of the ordinary words that could hold it.
    """
    import torch

    tokens, positions = [], []
    for prompt in prompts:
        if prompt.count(SLOT) != 1:
            raise ConfigError(
                "a prompt of a pseudo-word needs its place",
                got=repr(prompt),
                expected=f"one {SLOT}",
            )
        row, position = _place(teacher, prompt)
        tokens.append(row)
        positions.append(position)
    return Slots(
        torch.tensor(tokens, device=teacher.device), torch.tensor(positions, device=teacher.device)
    )


def encode(teacher: Teacher, prompts: Slots, vectors: Tensor) -> Tensor:
    """Unit text features ``(N, D)`` of prompts with ``vectors`` ``(N, d)`` in their places, with
    gradients to them.
    """
    import torch

    rows = torch.arange(len(prompts.tokens), device=prompts.tokens.device)

    def put(module: nn.Module, inputs: tuple[Tensor, ...], embedded: Tensor) -> Tensor:
        return embedded.index_put((rows, prompts.positions), vectors.to(embedded.dtype))

    handle = token_embedding(teacher).register_forward_hook(put)
    try:
        made = teacher.model.encode_text(prompts.tokens)
    finally:
        handle.remove()
    return torch.nn.functional.normalize(made.float(), dim=-1)


def inserted(longer: Sequence[int], shorter: Sequence[int]) -> tuple[int, int]:
    """Where and how many tokens were put into ``shorter`` to make ``longer`` (two padded rows of
    one length).

    The last entry is left out of the comparison: tokenizers that cut a prompt overwrite it with
        their end token. A count
    of 0 says that nothing was put in, or that the rows do not match.
    """
    length = len(longer) - 1
    start = next((i for i in range(length) if longer[i] != shorter[i]), length)
    for count in range(1, length - start):
        if list(longer[start + count : length]) == list(shorter[start : length - count]):
            return start, count
    return start, 0


def _place(teacher: Teacher, prompt: str) -> tuple[list[int], int]:
    (without,) = _tokenized(teacher, [" ".join(prompt.replace(SLOT, "").split())])
    for filler in FILLERS:
        if filler in prompt.lower():
            continue
        (row,) = _tokenized(teacher, [prompt.replace(SLOT, filler)])
        start, count = inserted(row, without)
        if count == 1:
            return row, start
    raise ConfigError(
        "no place for a pseudo-word in this prompt",
        got=repr(prompt),
        expected="a prompt short enough for the teacher, of words that its tokenizer knows",
    )


def _tokenized(teacher: Teacher, texts: Sequence[str]) -> list[list[int]]:
    rows: list[list[int]] = teacher.tokenize(list(texts)).tolist()
    return rows

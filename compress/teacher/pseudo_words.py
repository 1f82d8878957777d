"""Pseudo-words: prompts in which a vector replaces one token's embedding, with gradients to it.

``{style}`` marks the place in a prompt. It is tokenized with an ordinary word there, and a hook on
the text tower's token embedding swaps in the vectors during the forward pass. The tower's own
forward runs, so this works for open_clip's CLIP, its CustomTextCLIP and the Hugging Face text
towers inside it alike. The systems of Xuan et al. and Wei et al. (``papers/``: C and E) use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.engine.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.teacher.clip import ClipTeacher

SLOT = "{style}"
# ordinary words to hold the place; the first that is a single token and not in the prompt is used
FILLERS = "photo picture drawing painting red flower night fog style thing dog"


@dataclass(frozen=True)
class Slots:
    """Tokenized prompts ``(N, L)`` and the position of each pseudo-word ``(N,)``."""

    tokens: Tensor
    positions: Tensor

    def rows(self, indices: Sequence[int]) -> Slots:
        """The prompts at ``indices``, in that order."""
        import torch

        index = torch.as_tensor(list(indices), device=self.tokens.device)
        return Slots(self.tokens[index], self.positions[index])


def token_embedding(teacher: ClipTeacher) -> nn.Embedding:
    """The module that maps token ids to vectors; its ``weight`` is the table ``(V, d)``."""
    text: Any = getattr(teacher.model, "text", teacher.model)
    module: nn.Embedding | None = getattr(text, "token_embedding", None)
    if module is None and hasattr(text, "transformer"):
        module = text.transformer.get_input_embeddings()
    if module is None:
        what = "this teacher's text tower has no token embedding"
        raise ConfigError(what, got=type(text).__name__)
    return module


def token_table(teacher: ClipTeacher) -> Tensor:
    """The table of token embeddings ``(V, d)``, float32."""
    return token_embedding(teacher).weight.detach().float()


def word_vectors(teacher: ClipTeacher, words: Sequence[str]) -> Tensor:
    """``(N, d)``: for each word or phrase the mean of its tokens' embeddings.

    Raises:
        ConfigError: a word that the teacher's tokenizer does not know.
    """
    import torch

    table = token_table(teacher)
    empty, *rows = teacher.tokenize(["", *words]).tolist()
    out = []
    for word, row in zip(words, rows, strict=True):
        start, count = inserted(row, empty)
        if not count:
            raise ConfigError("the teacher does not know this style word", got=repr(word))
        out.append(table[torch.tensor(row[start : start + count], device=table.device)].mean(0))
    return torch.stack(out)


def slots(teacher: ClipTeacher, prompts: Sequence[str]) -> Slots:
    """Tokenizes prompts with one ``{style}`` each.

    Raises:
        ConfigError: not one ``{style}``, or its place is lost: the prompt is too long, or the
            tokenizer has none of the ordinary words that could hold it.
    """
    import torch

    tokens, positions = zip(*(_place(teacher, prompt) for prompt in prompts), strict=True)
    device = teacher.device
    return Slots(torch.tensor(tokens, device=device), torch.tensor(positions, device=device))


def encode(teacher: ClipTeacher, prompts: Slots, vectors: Tensor) -> Tensor:
    """Unit text features ``(N, D)`` of prompts, with gradients to their ``vectors`` ``(N, d)``."""
    import torch

    rows = torch.arange(len(prompts.tokens), device=prompts.tokens.device)

    def put(module: nn.Module, inputs: tuple[Tensor, ...], embedded: Tensor) -> Tensor:
        return embedded.index_put((rows, prompts.positions), vectors.to(embedded.dtype))

    handle = token_embedding(teacher).register_forward_hook(put)
    try:
        embeddings = teacher.model.encode_text(prompts.tokens)
    finally:
        handle.remove()
    return torch.nn.functional.normalize(embeddings.float(), dim=-1)


def inserted(longer: Sequence[int], shorter: Sequence[int]) -> tuple[int, int]:
    """Where and how many tokens ``longer`` has in addition (two padded rows of one length).

    The last entry is not compared: tokenizers that cut a prompt overwrite it with their end token.
    The count is 0 if nothing is inserted, or if the rows do not match.
    """
    length = len(longer) - 1
    start = next((i for i in range(length) if longer[i] != shorter[i]), length)
    for count in range(1, length - start):
        if list(longer[start + count : length]) == list(shorter[start : length - count]):
            return start, count
    return start, 0


def _place(teacher: ClipTeacher, prompt: str) -> tuple[list[int], int]:
    """The tokens of a prompt and the position of its ``{style}``."""
    if prompt.count(SLOT) != 1:
        what = "a prompt of a pseudo-word needs its place"
        raise ConfigError(what, got=repr(prompt), expected=f"one {SLOT}")
    (without,) = teacher.tokenize([" ".join(prompt.replace(SLOT, "").split())]).tolist()
    for filler in FILLERS.split():
        if filler not in prompt.lower():
            (row,) = teacher.tokenize([prompt.replace(SLOT, filler)]).tolist()
            start, count = inserted(row, without)
            if count == 1:
                return row, start
    expected = "a prompt short enough for the teacher, of words that its tokenizer knows"
    what = "no place for a pseudo-word in this prompt"
    raise ConfigError(what, got=repr(prompt), expected=expected)

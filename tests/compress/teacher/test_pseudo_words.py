"""Pseudo-words: prompts with a vector in the place of a word, through the text towers that
open_clip has.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip")
import torch
from tiny_sources import MODEL, SIGLIP, save_folder

from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError
from compress.teacher.clip import ClipTeacher
from compress.teacher.loading import load_teacher
from compress.teacher.pseudo_words import encode, inserted, slots, token_table, word_vectors


@pytest.fixture(scope="module")
def petals() -> ClipTeacher:
    return load_teacher(TeacherSettings(name="petals"))


def hugging_face(path: Path) -> ClipTeacher:
    """A CustomTextCLIP whose text tower is a BERT of transformers: another place for the table,
    another pooling.
    """
    transformers = pytest.importorskip("transformers")
    import open_clip
    from open_clip.hf_model import HFTextEncoder

    import runtime

    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    config.save_pretrained(path)
    save_folder(path / "clip", SIGLIP)
    model = open_clip.create_model(f"local-dir:{path / 'clip'}")
    model.text = HFTextEncoder(
        str(path), output_dim=24, pooler_type="mean_pooler", proj_type="linear", pretrained=False
    )
    words = [
        "",
        "[cls]",
        "[sep]",
        "a",
        "photo",
        "of",
        "rose",
        "in",
        "the",
        "style",
        "picture",
        "red",
    ]

    def tokenize(texts: list[str]) -> torch.Tensor:
        rows = [[1, *(words.index(word) for word in text.split()), 2] for text in texts]
        return torch.tensor([row + [0] * (12 - len(row)) for row in rows])

    spec = runtime.PreprocessSpec(
        size=32, resize=32, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    return ClipTeacher(name="bert", model=model, tokenize=tokenize, spec=spec)


def teacher_of(kind: str, path: Path) -> ClipTeacher:
    if kind == "bert":
        return hugging_face(path)
    if kind == "petals":
        return load_teacher(TeacherSettings(name="petals"))
    save_folder(path / "t", {"clip": MODEL, "siglip": SIGLIP}[kind])
    return load_teacher(TeacherSettings(name=str(path / "t")))


@pytest.mark.parametrize("kind", ["clip", "siglip", "bert", "petals"])
def test_a_words_own_vector_gives_the_prompts_own_feature(tmp_path: Path, kind: str) -> None:
    """The place is the right one, and nothing but the place changes."""
    teacher = teacher_of(kind, tmp_path)
    prompt = "a {style} of a rose" if kind != "petals" else "a {style} of a red flower"
    expected = teacher.encode_texts([prompt.replace("{style}", "picture")])
    vectors = word_vectors(teacher, ["picture"])
    np.testing.assert_allclose(
        encode(teacher, slots(teacher, [prompt]), vectors).detach(), expected, atol=1e-5
    )
    np.testing.assert_allclose(
        teacher.encode_texts([prompt.replace("{style}", "picture")]), expected, atol=0
    )


@pytest.mark.parametrize("kind", ["clip", "siglip", "bert"])
def test_gradients_reach_the_vectors_and_nothing_else(tmp_path: Path, kind: str) -> None:
    teacher = teacher_of(kind, tmp_path)
    places = slots(teacher, ["a {style} of a rose", "rose in the style of {style}"])
    vectors = torch.randn(2, token_table(teacher).shape[1], requires_grad=True)
    made = encode(teacher, places, vectors)
    torch.testing.assert_close(made.norm(dim=1), torch.ones(2))
    (made * torch.randn(made.shape)).sum().backward()
    assert vectors.grad is not None
    assert (vectors.grad.abs().sum(1) > 0).all()
    assert all(p.grad is None for p in teacher.model.parameters())
    swapped = encode(teacher, places, vectors.flip(0))
    assert not torch.allclose(swapped, made, atol=1e-4)
    torch.testing.assert_close(encode(teacher, places.rows([1, 0]), vectors.flip(0)), made.flip(0))


def test_the_hook_is_gone_afterwards_even_after_an_error(petals: ClipTeacher) -> None:
    before = petals.encode_texts(["a photo of a red flower"])
    with pytest.raises((RuntimeError, IndexError)):
        encode(petals, slots(petals, ["a {style} of a red flower"]), torch.zeros(1, 3))
    np.testing.assert_array_equal(petals.encode_texts(["a photo of a red flower"]), before)


def test_phrases_are_the_mean_of_their_tokens_and_unknown_words_are_refused(
    petals: ClipTeacher,
) -> None:
    close_up = word_vectors(petals, ["red flower", "red", "flower"])
    torch.testing.assert_close(close_up[0], close_up[1:].mean(0))
    with pytest.raises(ConfigError, match="does not know"):
        word_vectors(petals, ["zeppelin"])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a photo of a red flower", "needs its place"),
        ("a {style} {style} flower", "needs its place"),
    ],
)
def test_a_prompt_must_say_its_place_once(petals: ClipTeacher, prompt: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        slots(petals, [prompt])


def test_a_place_that_was_cut_off_is_an_error(petals: ClipTeacher) -> None:
    slots(petals, ["red " * 15 + "{style}"])
    with pytest.raises(ConfigError, match="no place"):
        slots(petals, ["red " * 40 + "{style}"])


def test_a_class_called_like_the_filler_does_not_confuse_the_place(petals: ClipTeacher) -> None:
    """The row has two equal words one after the other; the place must still be the first."""
    places = slots(petals, ["a {style} photo picture of a red flower"])
    assert places.positions.tolist() == [2]


@pytest.mark.parametrize(
    ("longer", "shorter", "expected"),
    [
        ([1, 5, 9, 6, 2, 0], [1, 5, 6, 2, 0, 0], (2, 1)),
        ([1, 9, 9, 2, 0, 0], [1, 2, 0, 0, 0, 0], (1, 2)),
        (
            [1, 5, 9, 6, 7, 2],
            [1, 5, 6, 7, 8, 2],
            (2, 1),
        ),  # the longer row lost its last word to the end token
        ([1, 5, 6, 2, 0, 0], [1, 5, 6, 2, 0, 0], (5, 0)),
        (
            [1, 9, 8, 2, 0, 0],
            [1, 5, 6, 2, 0, 0],
            (1, 0),
        ),  # other rows, not the same with something put in
    ],
)
def test_where_tokens_were_put_in(
    longer: list[int], shorter: list[int], expected: tuple[int, int]
) -> None:
    assert inserted(longer, shorter) == expected

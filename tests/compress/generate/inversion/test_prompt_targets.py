"""Prompt targets of the embedded teacher: mixtures, random vectors, learned styles, prototypes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from compress.data.split import ClassInfo
from compress.engine.config import PromptSettings, TeacherSettings
from compress.engine.errors import ConfigError
from compress.engine.seeds import derive
from compress.evaluate.diversity import within_class_diversity
from compress.generate.inversion.prompt_targets import PROMPT_TARGETS, load_targets
from compress.generate.inversion.pseudo_word_targets import (
    KEPT,
    ContrastivePrompt,
    LearnedPrompt,
    MixPrompt,
    RandomPrompt,
)
from compress.generate.inversion.word_targets import styled
from compress.generate.jobs import Job
from compress.generate.sources import Sources
from compress.petals.world import SPECIES, render_species
from compress.teacher.clip import ClipTeacher
from compress.teacher.loading import load_teacher
from compress.teacher.pseudo_words import token_table, word_vectors

CHOSEN = (0, 4, 8, 12)  # one species of a genus: names that are not ambiguous among themselves
WORDS = ("photo", "sketch", "painting", "drawing")
EMBEDDED: dict[str, Any] = {
    "template": "a photo of a {}",
    "style_template": "a {style} of a {}",
    "words": WORDS,
}


@cache
def teacher() -> ClipTeacher:
    return load_teacher(TeacherSettings(name="petals"))


def sources(shots: int = 0, seed: int = 5) -> Sources:
    classes = [ClassInfo(SPECIES[i].name, SPECIES[i].name) for i in CHOSEN]
    labels = np.repeat(np.arange(len(CHOSEN)), shots)
    images = render_species(
        [CHOSEN[i] for i in labels], "train", [i % max(shots, 1) for i in range(len(labels))]
    )
    return Sources(
        classes, images, labels, [f"train/{i}" for i in range(len(labels))], seed, teacher=teacher
    )


def jobs(numbers: int = 3, seed: int = 5) -> list[Job]:
    rows = [(number, c) for number in range(numbers) for c in range(len(CHOSEN))]
    return [Job(i, c, j, derive(seed, "generate", c, j)) for i, (j, c) in enumerate(rows)]


def kind(name: str, shots: int = 0, **settings: Any) -> Any:
    return load_targets(
        PromptSettings(**{**EMBEDDED, "kind": name, "steps": 4, "count": 3, **settings}),
        sources(shots),
        teacher(),
    )


@pytest.mark.parametrize("name", PROMPT_TARGETS)
def test_every_kind_gives_unit_targets_that_depend_on_the_job_alone(name: str) -> None:
    here, there = kind(name, shots=1), kind(name, shots=1)
    forwards = [here.target(job) for job in jobs()]
    backwards = [there.target(job) for job in reversed(jobs())][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert torch.equal(one.feature, other.feature)
        assert (one.prompt, one.style_id) == (other.prompt, other.style_id)
        assert (one.style_id is not None) is PROMPT_TARGETS[name].styled
        assert one.feature.norm().item() == pytest.approx(1, abs=1e-5)
    assert here.class_head.shape == (4, 128)
    torch.testing.assert_close(here.class_head.norm(dim=1), torch.ones(4))
    assert isinstance(here.facts(), dict)


def test_an_unknown_kind_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'contrastive'"):
        kind("contrastiv")


def test_fixed_is_the_prompt_of_the_class() -> None:
    made = kind("fixed").target(jobs()[1])
    expected = teacher().encode_texts([f"a photo of a {SPECIES[4].name}"])[0]
    np.testing.assert_array_equal(made.feature.numpy(), expected)
    assert (made.prompt, made.style_id) == (f"a photo of a {SPECIES[4].name}", None)


def test_words_record_their_style_and_can_be_whole_prompts() -> None:
    words = ("sketch", "a photo of a {} at night")
    seen = {}
    for job in jobs(8):
        made = kind("words", words=words).target(job)
        seen[made.style_id] = made.prompt
        np.testing.assert_array_equal(
            made.feature.numpy(), teacher().encode_texts([str(made.prompt)])[0]
        )
    assert set(seen) == {0, 1}
    assert seen[0] is not None and seen[0].startswith("a sketch of a ")
    assert seen[1] is not None and seen[1].endswith(" at night")


def test_a_mixture_has_weights_of_a_mixture_and_lies_between_its_parents() -> None:
    mix = kind("mix", mixed=3)
    assert isinstance(mix, MixPrompt)
    for job in jobs(2):
        made = mix.target(job)
        parts = str(made.prompt).split(" + ")
        weights = [float(part.split()[0]) for part in parts]
        assert all(weight >= 0 for weight in weights) and sum(weights) == pytest.approx(1, abs=2e-3)
        parents = torch.from_numpy(
            teacher().encode_texts([part.split(" ", 1)[1] for part in parts])
        )
        left = torch.linalg.lstsq(parents.T, made.feature[:, None]).solution
        torch.testing.assert_close(parents.T @ left[:, 0], made.feature, atol=1e-4, rtol=0)
        assert f"a {WORDS[made.style_id or 0]} of" in parts[int(np.argmax(weights))]


@pytest.mark.parametrize("level", ["feature", "token"])
def test_all_the_weight_on_one_style_is_that_style(level: str) -> None:
    mix = kind("mix", mix_level=level)
    made = mix.mixed(0, [1, 2], [1.0, 0.0])
    expected = teacher().encode_texts([f"a sketch of a {SPECIES[0].name}"])[0]
    np.testing.assert_allclose(made, expected, atol=1e-5)
    both = mix.mixed(0, [1, 2], [0.5, 0.5])
    assert np.abs(both - expected).max() > 1e-3


def test_mixing_more_styles_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="more styles to mix"):
        kind("mix", mixed=5).target(jobs()[0])


def test_random_vectors_have_the_moments_of_the_table() -> None:
    random = kind("random")
    assert isinstance(random, RandomPrompt)
    drawn = torch.stack([random.draw(seed) for seed in range(2000)])
    table = token_table(teacher())
    error = table.std(0) / len(drawn) ** 0.5
    z = (drawn.mean(0) - table.mean(0)) / error
    assert z.abs().mean() < 1.0 and z.abs().max() < 4.5, (
        "128 dimensions, 3 s.e. in most and none far beyond"
    )
    assert (z.abs() < 3).float().mean() > 0.98
    torch.testing.assert_close(drawn.std(0) / table.std(0), torch.ones(128), atol=0.08, rtol=0)


def test_random_styles_keep_the_class_or_are_scaled_until_they_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = kind("random")
    assert random.kept(random.scale) >= KEPT
    wanted = jobs(40, seed=9)  # draws that took no part in choosing the scale
    seen = [int((random.target(job).feature @ random.class_head.T).argmax()) for job in wanted]
    assert np.mean([a == job.class_id for a, job in zip(seen, wanted, strict=True)]) >= KEPT - 0.05
    assert len({random.target(job).feature.numpy().tobytes() for job in jobs(4)}) == 16, (
        "a new vector per image"
    )
    shares = {4.0: 0.1, 2.0: 0.2, 1.0: 0.2, 0.5: 0.94, 0.25: 0.96, 0.125: 1.0}
    monkeypatch.setattr(RandomPrompt, "kept", lambda self, scale: shares[scale])
    assert kind("random").scale == 0.25
    monkeypatch.setattr(RandomPrompt, "kept", lambda self, scale: 0.5)
    with pytest.raises(ConfigError, match="drown the class"):
        kind("random").target(jobs()[0])


@pytest.mark.parametrize("learner", ["infonce", "promptstyler"])
def test_learned_styles_move_apart_and_leave_the_class_alone(learner: str) -> None:
    rates = {"infonce": {"steps": 30, "lr": 1e-2}, "promptstyler": {"steps": 15, "lr": 1.0}}
    styles = kind("contrastive", contrastive=learner, count=4, **rates[learner])
    assert isinstance(styles, ContrastivePrompt)
    found = styles.facts()["style_learning"]
    assert found["after"]["style_cosine"] < found["before"]["style_cosine"] - 0.02
    assert found["after"]["class_accuracy"] >= found["before"]["class_accuracy"]
    again = kind("contrastive", contrastive=learner, count=4, **rates[learner])
    assert torch.equal(again.vectors, styles.vectors), "the same run learns the same styles"


def test_without_the_category_term_classes_may_go_but_the_dictionary_starts_from_words() -> None:
    learned = kind("learned", count=3, steps=40, lr=5e-3)
    assert isinstance(learned, LearnedPrompt)
    torch.testing.assert_close(learned.start, word_vectors(teacher(), WORDS[:3]))
    found = learned.facts()["style_learning"]
    assert found["after"]["style_cosine"] < found["before"]["style_cosine"]
    assert kind("learned", steps=0).facts()["style_learning"]["before"] == found["before"]


def test_one_shot_is_its_own_prototype_and_the_order_of_shots_does_not_matter() -> None:
    one = kind("prototypes", shots=1)
    seen = teacher().encode_images(one.sources.shots)
    np.testing.assert_allclose(one.class_head, seen, atol=1e-6)
    three = kind("prototypes", shots=3)
    turned = kind("prototypes", shots=3)
    order = np.array([2, 0, 1, 5, 3, 4, 8, 7, 6, 9, 11, 10])
    turned.sources.shots = turned.sources.shots[order]
    torch.testing.assert_close(turned.class_head, three.class_head)
    torch.testing.assert_close(three.class_head.norm(dim=1), torch.ones(4))
    made = three.target(jobs()[1])
    assert made.source_ids == ("train/3", "train/4", "train/5")
    assert made.prompt is None


def test_prototypes_without_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="need images of every class"):
        kind("prototypes").target(jobs()[0])


def test_targets_of_a_class_spread_in_the_expected_order() -> None:
    """Of species of four genera: Fixed < Mix < Random < Contrastive, by 1 - cos."""
    spread = {}
    wanted = jobs(16)
    labels = np.array([job.class_id for job in wanted])
    learning = {"contrastive": {"count": 8, "steps": 200}}
    for name in ("fixed", "mix", "random", "words", "contrastive"):
        target = kind(name, **learning.get(name, {}))
        features = np.stack([target.target(job).feature.numpy() for job in wanted])
        spread[name] = within_class_diversity(features, labels)
    assert spread["fixed"] == pytest.approx(0, abs=1e-6)
    assert spread["fixed"] < spread["mix"] < spread["words"]
    assert 1.2 * spread["mix"] < spread["random"] < spread["contrastive"]


@pytest.mark.parametrize(
    ("template", "word", "expected"),
    [
        ("a(n) {} in the style of {style}", "oil painting", "an oak in the style of oil painting"),
        ("a(n) {style} of a(n) {}", "oil painting", "an oil painting of an oak"),
        ("a(n) {style} of a(n) {}", "{style}", "a {style} of an oak"),
        ("a {style} of a {}", "a {} at night", "a oak at night"),
        ("{} as {style}[, a {category}]", "braces {x}", "oak as braces {x}, a tree"),
    ],
)
def test_a_style_template_is_filled_with_style_and_class(
    template: str, word: str, expected: str
) -> None:
    assert styled(template, word, ClassInfo("oak", "oak", "tree")) == expected


@pytest.mark.parametrize(
    "template", ["a photo of a {}", "{style} {style} {}", "a {style}", "{} {style} {other}"]
)
def test_style_templates_that_cannot_be_filled_are_refused(template: str) -> None:
    with pytest.raises(ConfigError):
        styled(template, "photo", ClassInfo("oak", "oak", None))

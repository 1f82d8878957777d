"""Training captions and prompts: true, and of words that the teacher knows."""

from __future__ import annotations

import re

import numpy as np

from benchmarks.petals_training.captions import TEMPLATES, every_word, training_caption
from compress.engine.seeds import numpy_rng
from compress.petals import attributes as at


def test_training_captions_say_nothing_untrue() -> None:
    rng = numpy_rng(0, "captions")
    values = {word for words in at.ATTRIBUTES.values() for word in words}
    for row in at.decode(np.arange(0, 7680, 131)).tolist():
        true = set(re.findall(r"\w+", at.noun_phrase(row)))
        for style in range(len(at.STYLES)):
            words = re.findall(r"\w+", training_caption(row, style, rng))
            assert {word for word in words if word in values} <= true
            assert set(words) <= set(every_word())


def test_every_style_has_templates() -> None:
    assert tuple(TEMPLATES) == at.STYLES
    assert all(
        template.count("{}") == 1 for templates in TEMPLATES.values() for template in templates
    )

"""What ``compress list`` prints."""

from __future__ import annotations

import pytest

from compress.cli.listing import KINDS, names
from compress.engine.errors import ConfigError


def test_every_kind_of_name_is_listed() -> None:
    expected = {
        "datasets": "petals",
        "teachers": "ViT-L-14/openai",
        "students": "petal_cnn",
        "generators": "kandinsky-2.2",
        "decoders": "petals-vq",
        "strategies": "sidclip",
        "prompts": "contrastive",
        "objectives": "kd",
        "presets": "smoke",
        "methods": "img2img CP",
        "devices": "orin-nano",
    }
    assert set(expected) == set(KINDS)
    assert all(any(name in line for line in names(kind)) for kind, name in expected.items())
    with pytest.raises(ConfigError, match="did you mean 'students'"):
        names("student")

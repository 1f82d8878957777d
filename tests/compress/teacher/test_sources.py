"""What a teacher's name means."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.engine.errors import ConfigError
from compress.teacher.sources import Checkpoint, Embedded, Folder, HubRepository, Tag, locate


def test_what_a_name_means(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"x")
    assert locate("petals") == Embedded()
    assert locate("ViT-L-14/openai") == Tag("ViT-L-14", "openai")
    assert locate("hf-hub:org/name") == HubRepository("org/name")
    assert locate(str(folder)) == Folder(folder)
    assert locate(f"ViT-B-32/{file}") == Checkpoint("ViT-B-32", file)
    with pytest.raises(ConfigError, match="needs its architecture"):
        locate(str(file))
    with pytest.raises(ConfigError, match="does not exist"):
        locate(str(tmp_path / "nowhere"))

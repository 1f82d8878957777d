"""What is known of a teacher's license before it is loaded, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("timm")

from compress.teacher.licenses import notice, stated_license


def test_licenses_that_bind_are_told_and_others_are_not() -> None:
    assert "agree" in (notice("dinov3-license") or "")
    assert "commercial" in (notice("fair-noncommercial-research-license") or "")
    assert notice("apache-2.0") is None and notice("unknown") is None
    assert notice("Apache-2.0 + unknown + MIT") is None
    assert notice("apple-ascl") == "apple-ascl: read its terms before use"
    assert notice("mit + cc-by-nc-4.0") == notice("cc-by-nc-4.0")


def test_published_weights_have_their_publishers_license(tmp_path: Path) -> None:
    """A file has that of its tag; without a tag it may hold any weights."""
    small = "timm:vit_small_patch16_dinov3"
    file = tmp_path / "w.safetensors"
    assert stated_license(small) == "dinov3-license"
    assert stated_license(f"{small}.lvd1689m@{file}") == "dinov3-license"
    assert stated_license(f"{small}@{file}") == "unknown"
    assert stated_license("ViT-B-16/dfn2b") == "apple-amlr"
    assert stated_license("ViT-L-14/openai") == "MIT"
    assert stated_license(str(tmp_path)) == "unknown"

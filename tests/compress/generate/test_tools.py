"""Tools: what does not fit the strategy is refused before it is loaded, or as soon as possible."""

from __future__ import annotations

from pathlib import Path

import pytest
from echo_runs import Loader, context, echo_kind
from tiny_sources import Echo, write_index

from compress.engine.errors import ConfigError
from compress.generate.generators import table
from compress.generate.generators.generator import IMAGE, TEXT
from compress.generate.stage import run


def test_a_generator_that_does_not_fit_is_refused_before_it_is_loaded(
    tmp_path: Path, echoes: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(table.KINDS, "echo", echo_kind(TEXT))
    with pytest.raises(
        ConfigError, match="takes text only, strategy img2img needs image embeddings · use .*unclip"
    ):
        run(context(tmp_path, "a", strategy="img2img"))
    monkeypatch.setitem(table.KINDS, "echo", echo_kind(TEXT | IMAGE))
    with pytest.raises(
        ConfigError,
        match=r"cannot add noise .*noise_level=3 · expected 0 · use petals or stable-diffusion",
    ):
        run(context(tmp_path, "b", strategy="img2img", noise_level=3))
    assert not echoes.loaded


def test_a_generator_whose_kind_is_known_on_loading_is_refused_then(
    tmp_path: Path, echoes: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = write_index(tmp_path / "hub", "StableDiffusionPipeline") / "model_index.json"
    monkeypatch.setattr(table, "fetch_index", lambda repository, offline: index)
    kind = table.GeneratorKind(echo_kind().adapter, TEXT, pipelines=("StableDiffusionPipeline",))
    monkeypatch.setitem(table.KINDS, "stable_diffusion", kind)
    monkeypatch.setattr(Echo, "takes", TEXT)
    with pytest.raises(ConfigError, match="takes text only"):
        run(context(tmp_path, "a", strategy="img2img", generator="org/some-pipeline"))
    run(context(tmp_path, "b", strategy="cls2img", generator="org/some-pipeline"))

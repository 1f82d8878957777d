"""Names of generators: what they stand for, and what their kinds take."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_sources import write_index

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.stage import resolve
from compress.generate.generators.generator import IMAGE, GeneratorWeights
from compress.generate.generators.table import GENERATORS, KINDS, check_fits, locate


def test_every_name_leads_to_a_kind_and_every_kind_is_reached() -> None:
    assert {weights.kind for weights in GENERATORS.values()} == set(KINDS)
    pipelines = {kind.pipelines for kind in KINDS.values()}
    assert len(pipelines) == len(KINDS), "model_index.json tells every kind from the others"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_what_its_adapter_takes(kind: str) -> None:
    adapter = resolve(KINDS[kind].adapter)
    assert adapter.takes == KINDS[kind].takes
    assert callable(adapter.load)


def test_a_folder_is_of_the_kind_that_its_content_says(tmp_path: Path) -> None:
    one = write_index(tmp_path / "one", "StableUnCLIPImg2ImgPipeline")
    assert locate(str(one)) == GeneratorWeights("unclip", (str(one),))
    pair = tmp_path / "pair"
    for part in ("prior", "decoder"):
        write_index(pair / part, f"KandinskyV22{'Prior' if part == 'prior' else ''}Pipeline")
    assert locate(str(pair)) == GeneratorWeights(
        "kandinsky", (str(pair / "prior"), str(pair / "decoder"))
    )
    petals = tmp_path / "petals"
    for part in ("teacher", "prior", "unet", "scheduler"):
        (petals / part).mkdir(parents=True)
    assert locate(str(petals)) == GeneratorWeights("petals", (str(petals),))
    (petals / "unet").rmdir()
    with pytest.raises(ConfigError, match="lacks a pipeline"):
        locate(str(petals))


def test_a_pipeline_without_an_adapter_is_refused(tmp_path: Path) -> None:
    other = write_index(tmp_path / "other", "FluxPipeline")
    with pytest.raises(ConfigError, match=r"no adapter .* FluxPipeline .* StableDiffusionPipeline"):
        locate(str(other))
    with pytest.raises(ConfigError, match="did you mean 'stable-diffusion-2.1'"):
        locate("stable-difusion-2.1")
    with pytest.raises(ConfigError, match="unknown generator"):
        locate("./no/such/folder")


def test_the_kind_of_a_hub_id_is_not_known_before_loading() -> None:
    assert locate("org/pipeline") == GeneratorWeights(None, ("org/pipeline",))
    check_fits(GenerateSettings(generator="org/pipeline", strategy="img2img"), IMAGE)

"""What cannot work is said before any stage is made, all of it in one list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from image_folders import fill
from safetensors.torch import save_file

from compress import api
from compress.engine.errors import Clip2EdgeError, ConfigError


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "run_stages", lambda *_, **__: pytest.fail("it was not refused"))


def refused(tmp_path: Path, **options: Any) -> str:
    """The error of a build, which has made nothing."""
    settings = {name: options.pop(name) for name in ("name", "until", "benches") if name in options}
    source = {} if "data" in options or "classes" in options else {"dataset": "petals"}
    options = {"preset": "smoke", "shots": 1, "offline": True, **source, **options}
    with pytest.raises(Clip2EdgeError) as caught:
        api.build(work_dir=tmp_path / "work", **settings, **options)
    assert not (tmp_path / "work").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"seed": -1}, "setting seed is wrong"),
        ({"seed": 2**63}, "setting seed is wrong"),
        ({"seed": True}, "not true or false"),
        ({"bench": {"threads": [0]}}, "bench.threads"),
        ({"bench": {"threads": []}}, "a list of at least 1"),
        ({"bench": {"threads": [1025]}}, "less than or equal to 1024"),
        ({"bench": {"seconds": float("inf")}}, "finite number"),
        ({"distill": {"lr": float("nan")}}, "finite number"),
        ({"distill": {"steps": 10**12}}, "distill.steps"),
        ({"distill": {"objective": "kdd"}}, "did you mean 'kd'"),
        ({"distill": {"activation": "nope"}}, "unknown activation"),
        ({"distill": {"init_path": "/nope.safetensors"}}, "init_path does not exist"),
        ({"distill": {"init_path": "/etc/passwd"}}, "a .safetensors file"),
        ({"distill": {"objective": "gendd", "gendd": {"token_dim": 7}}}, "token_dim=8"),
        (
            {"distill": {"objective": "gendd_unlabeled", "smooth": 0, "gendd": {"token_dim": 7}}},
            "token_dim=8",
        ),
        ({"distill": {"objective": "gendd_unlabeled"}}, "--set distill.smooth=0"),
        (
            {"distill": {"objective": "gendd", "train": "head", "gendd": {"pretrain_share": 0.2}}},
            "distill.train=all",
        ),
        ({"distill": {"objective": "gendd", "gendd": {"sampling_steps": 2000}}}, "2..1000"),
        ({"distill": {"objective": "cp"}, "generate": {"strategy": "cls2img"}}, "no conditions"),
        ({"distill": {"objective": "cp"}, "generate": {"strategy": "mix"}}, "no conditions"),
        ({"label": {"pools": ["real"]}}, "lacks targets"),
        ({"data": {"shots": 0}, "generate": {"per_class": 0}}, "no images to learn from"),
        ({"data": {"shots": 65}}, "the smallest class has 64"),
        ({"data": {"style": "nope"}}, "unknown style"),
        ({"generate": {"strategy": "img2imgg"}}, "did you mean 'img2img'"),
        ({"generate": {"strategy": "img2img"}, "data": {"shots": 0}}, "makes images from shots"),
        ({"generate": {"text_via_prior": False}}, "decodes image embeddings only"),
        ({"generate": {"strategy": "inversion", "prompts": {"kind": "x"}}}, "prompt target"),
        (
            {"generate": {"strategy": "inversion", "prompts": {"kind": "words", "words": []}}},
            "no style words",
        ),
        ({"generate": {"strategy": "inversion", "inversion": {"image_size": 33}}}, "multiple of"),
        ({"generate": {"per_class": 10**9}}, "too small for this build"),
        ({"teacher": {"templates": ["a {nope}"]}}, "unknown field"),
        ({"teacher": {"templates": []}}, "no prompt templates"),
        ({"quantize": {"float_blocks": ["nope"]}}, "names nothing that would run in int8"),
        ({"distill": {"student": "vit_tiny_patch16_224", "init": "random"}}, "image.size=224"),
    ],
)
def test_a_setting_that_a_later_stage_refuses(tmp_path: Path, overrides: Any, says: str) -> None:
    if "shots" in overrides.get("data", {}):
        assert says in refused(tmp_path, overrides=overrides, shots=None)
    else:
        assert says in refused(tmp_path, overrides=overrides)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "a/b"}, "a run cannot have this name"),
        ({"until": "trainn"}, "--until names no stage"),
        ({"benches": ["/nope.json"]}, "there is no budget"),
        ({"benches": ["/nope.json"], "budget": "size<=1MB"}, "cannot read /nope.json"),
        ({"budget": "p50<=1"}, "needs a unit"),
        ({"budget": "/nope.yaml"}, "cannot be read"),
        ({"budget": "p50<=1e999ms"}, "no finite number"),
        ({"teacher": "/nope"}, "folder does not exist"),
        ({"generator": "nope"}, "unknown generator"),
        ({"student": "petal_cnnn"}, "did you mean 'petal_cnn'"),
        ({"preset": "smoky"}, "did you mean 'smoke'"),
        ({"data": "/nope"}, "does not exist"),
    ],
)
def test_an_option_that_is_wrong(tmp_path: Path, options: Any, says: str) -> None:
    assert says in refused(tmp_path, **options)


def test_everything_that_is_wrong_is_one_list(tmp_path: Path) -> None:
    wrong = {
        "seed": -1,
        "bench": {"threads": [0]},
        "distill": {"objective": "nope", "init_path": "/nope"},
        "generate": {"strategy": "nope"},
    }
    lines = refused(tmp_path, overrides=wrong).splitlines()
    assert len(lines) == 6 and lines[-1].startswith("  5. ")


def test_weights_of_another_network_are_refused_by_their_head(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"trunk.layers.0.conv.weight": torch.zeros(1)}, file)
    assert "these are not the weights of petal_cnn" in refused(
        tmp_path, overrides={"distill": {"init_path": str(file)}}
    )


def test_a_folder_that_nothing_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Clip2EdgeError, match="nothing can be written there"):
        api.build("petals", preset="smoke", shots=1, work_dir=tmp_path / "file")


def test_a_config_of_a_newer_version_says_so(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("seed: 1\nfuture: {x: 1}\ndistill: {stepz: 2}\n")
    with pytest.raises(ConfigError, match="future.*distill.stepz.*newer version"):
        api.settings_for(config_file=config)
    with pytest.raises(ConfigError, match="settings come from one place"):
        api.settings_for(config_file=config, preset="smoke")


def test_images_held_out_are_counted_where_shots_are_too_few(tmp_path: Path) -> None:
    for number, name in enumerate(("rose", "oak")):
        fill(tmp_path / "images" / name, 6, seed=100 * number)
    told = refused(tmp_path, data=tmp_path / "images", shots=6)
    assert "got 6 images, 1 of them held out for testing · expected at least 6" in told
    assert "the smallest class has 5 for training" in told


def test_what_is_lacking_is_a_list_without_signs_of_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for number, name in enumerate(("rose", "oak")):
        fill(tmp_path / "images" / name, 6, seed=100 * number)
    told = refused(tmp_path, data=tmp_path / "images", teacher="timm:resnet18")
    assert "\n  - teacher timm:resnet18: place its file" in told and "\\n" not in told

"""A paper's table: its plan, its cells and its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from compress.cli.app import app
from compress.engine.errors import ConfigError
from compress.papers import reproduce
from compress.papers.methods import Scale
from compress.papers.page import page

TINY = {
    "data": {"test_limit": 64},
    "generate": {"per_class": 2, "synth_ratio": None, "steps": 1},
    "label": {"views": 1, "real_views": 2},
    "distill": {"steps": 3, "batch": 16},
    "teacher": {"probe_steps": 2, "probe_views": 2},
}


def test_a_teacher_and_a_generator_named_for_a_table_win_over_its_scale(tmp_path: Path) -> None:
    plan = reproduce.plan_for(
        "sasaki",
        data=tmp_path,
        teacher="ViT-B-32/openai",
        generator="kandinsky-2.2",
        sets=["distill.steps=7"],
    )
    settings = plan.settings("img2img FD", tmp_path.name, 2, 0, tmp_path)
    assert (
        settings.teacher.name == "ViT-B-32/openai"
        and settings.generate.generator == "kandinsky-2.2"
    )
    assert settings.distill.steps == 7 and settings.data.path == tmp_path


def test_unknown_papers_rows_and_scales_are_errors_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'sasaki'"):
        reproduce.plan_for("sasak")
    with pytest.raises(ConfigError, match="did you mean 'mini'"):
        reproduce.plan_for("sasaki", "minni")
    with pytest.raises(ConfigError, match="did you mean 'SUP'"):
        reproduce.plan_for("sasaki", rows=["SUPP"])


def test_an_unknown_engine_is_refused_before_any_work(tmp_path: Path) -> None:
    command = ["reproduce", "sasaki", "--engine", "rai", "--work-dir", str(tmp_path)]
    found = CliRunner().invoke(app, [*command, "--row", "SUP"])
    assert isinstance(found.exception, ConfigError)
    assert "did you mean 'ray'" in str(found.exception)
    assert not (tmp_path / "store").exists()


def test_a_dry_run_says_which_builds_there_are(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        app, ["reproduce", "sasaki", "--dry-run", "--seeds", "2", "--work-dir", str(tmp_path)]
    )
    assert found.exit_code == 0 and "img2img CP" in found.output and "18 builds" in found.output


@pytest.mark.slow
def test_a_table_is_made_with_verdicts_and_names_what_is_inferred(tmp_path: Path) -> None:
    plan = reproduce.plan_for("sasaki", rows=["SUP", "real FD", "img2img CP"], seeds=2)
    mini = plan.scale
    plan.scale = Scale(
        datasets=("petals",), shots=(1,), seeds=2, set=_over(mini.set), rows=mini.rows
    )
    plan.shots = (1,)
    told: list[str] = []
    results = reproduce.run(plan, tmp_path, say=told.append)
    assert len(told) == plan.cells == 6
    text = page(plan, results, tmp_path, 1.0)
    assert "A replica with inferred settings" in text and "reproduces the paper" not in text
    assert (
        "`compress reproduce sasaki --row SUP --row 'real FD' --row 'img2img CP' --seeds 2`" in text
    )
    assert str(tmp_path) not in text
    assert "| real FD | none | fd |" in text and "img2img | cp |" in text
    assert "real FD > SUP on petals" in text and "`generate.synth_ratio`" in text


def _over(base: dict) -> dict:
    from compress.engine.config import merge

    return merge(base, TINY)

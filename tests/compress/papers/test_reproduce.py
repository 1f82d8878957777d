"""A paper's table: its plan, its cells and its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from compress.cli.app import app
from compress.engine.config import merge
from compress.engine.errors import ConfigError
from compress.papers import reproduce
from compress.papers.methods import Scale, Shots
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


def test_a_dry_run_names_further_tables_and_what_is_not_made(tmp_path: Path) -> None:
    command = ["reproduce", "sidclip", "--table", "table2", "--dry-run"]
    found = CliRunner().invoke(app, [*command, "--work-dir", str(tmp_path)])
    assert found.exit_code == 0 and "9 builds: 1 rows" in found.output
    assert "not made here: ResNet18 (Li et al. 2023): another paper's model" in found.output
    assert "tables of sidclip: main, table2, table3" in found.output
    main = CliRunner().invoke(app, ["reproduce", "sidclip", "--dry-run"])
    assert "ENB0 + D + S\n" in main.output and "TinyViT" not in main.output
    assert "36 builds: 12 rows, datasets petals, shots 1, 3 seeds" in main.output


def test_a_table_without_a_miniature_says_which_scale_it_has() -> None:
    with pytest.raises(
        ConfigError, match=r"gendd --table imagenet has no such scale.*one of: full"
    ):
        reproduce.plan_for("gendd", table="imagenet")


def test_rows_are_made_only_where_they_exist() -> None:
    plan = reproduce.plan_for("cvlm", table="table6")
    assert plan.rows_at(0) == ("Text prompt", "+ Constraint")
    assert plan.rows_at(4) == ("+ Image prompt",) and plan.cells == 3 * plan.seeds
    assert plan.command == "compress reproduce cvlm --table table6"
    assert plan.run_name("+ Image prompt", "petals8", 4, 0) == (
        "cvlm-table6-petals8-4shot-s0-image-prompt"
    )
    assert plan.page_name == "cvlm-table6-mini"


#: the quickest cells of miniatures, one of each new kind: (paper, table, shots, row)
QUICK: list[tuple[str, str, Shots, str]] = [
    ("sidclip", "main", 1, "CLIP ViT-L/14"),
    ("sidclip", "table2", 0, "SIDCLIP"),
    ("sidclip", "table2", "all", "SIDCLIP"),
    ("prompt-diversity", "few-shot", 4, "real images alone"),
    ("gendd", "main", 8, "GenDD, sampled"),
    ("gendd", "imbalanced", "all", "GenDD"),
    ("cvlm", "images", 4, "L_im + L_cls"),
    ("cvlm", "table6", 0, "+ Constraint"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "table", "shots", "row"), QUICK)
def test_the_quickest_cells_of_further_tables_are_made(
    name: str, table: str, shots: Shots, row: str, tmp_path: Path
) -> None:
    plan = reproduce.plan_for(name, table=table, rows=[row], shots=[shots], seeds=1)
    few = {"inversion": {"steps": 2}, "prompts": {"steps": 2, "count": 2}}
    smaller = {"generate": few, "label": {"most_views": 300}}
    plan.options["overrides"] = merge(TINY, smaller)
    results = reproduce.run(plan, tmp_path)
    (hits,) = (cell[row] for cells in results.values() for cell in cells)
    domains = 5 if plan.paper.measured_on == "domains" else 1
    assert hits.size == 64 * domains and hits.dtype == bool
    if row == "CLIP ViT-L/14":
        assert hits.mean() > 0.6, "the teacher itself"
        assert not list((tmp_path / "store").glob("distill*")), "no student is built"


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
    assert "| real FD    | none     | fd        |" in text and "img2img  | cp        |" in text
    assert "real FD > SUP on petals" in text and "`generate.synth_ratio`" in text


def _over(base: dict) -> dict:
    return merge(base, TINY)

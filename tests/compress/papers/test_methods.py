"""Papers as data: every row resolves and names rows of the tables; a broken file is refused; a
table is made end to end.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from compress.api import settings_for
from compress.cli.app import app
from compress.cli.listing import names
from compress.distill.missing import check_styles, missing_student
from compress.distill.objectives import OBJECTIVES
from compress.engine.config import preset_names
from compress.engine.errors import ConfigError
from compress.generate.strategies.table import STRATEGIES
from compress.generate.missing import check as check_generators
from compress.papers import methods, reproduce
from compress.papers.methods import Scale, paper

SYSTEMS = {"sasaki": "A", "sidclip": "B", "prompt-diversity": "C", "gendd": "D", "cvlm": "E"}
TINY = {
    "data": {"test_limit": 64},
    "generate": {"per_class": 2, "synth_ratio": None, "steps": 1},
    "label": {"views": 1, "real_views": 2},
    "distill": {"steps": 3, "batch": 16},
    "teacher": {"probe_steps": 2, "probe_views": 2},
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_published_system_is_there_with_a_preset_of_its_own(name: str) -> None:
    made = paper(name)
    assert made.system == SYSTEMS[name] and made.preset in preset_names()
    assert made.inferred and made.rows and set(made.scales) >= {"mini", "full"}


@pytest.mark.parametrize("name", methods.names())
def test_every_row_resolves_at_every_scale(name: str) -> None:
    made = paper(name)
    for scale in made.scales.values():
        for row in made.all_rows():
            settings = made.settings(row, scale, scale.datasets[0], scale.shots[0], 7)
            assert settings.seed == 7 and settings.data.dataset == scale.datasets[0]
            assert (
                settings.generate.strategy in STRATEGIES
                and settings.distill.objective in OBJECTIVES
            )
            check_generators(
                settings.generate
            )  # refuses a generator that does not take what the strategy gives it
            check_styles(settings)
            frozen = settings.distill.freeze_batch_norm and settings.distill.init == "random"
            assert not frozen, "statistics of random weights"
            small_clip = {"distill.init"} & set(made.inferred) and settings.distill.init == "clip"
            if settings.distill.init in ("clip", "generic") and not small_clip:
                assert missing_student(settings.distill, online=True) is None


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("dataset", ["petals", "flowers"])
def test_every_preset_has_a_generator_that_fits_and_styles_for_its_meta_steps(
    name: str, dataset: str
) -> None:
    settings = settings_for(dataset, preset=name)
    check_generators(settings.generate)
    check_styles(settings)


@pytest.mark.parametrize(
    "generate",
    [{"strategy": "sidclip"}, {"strategy": "inversion", "prompts": {"kind": "prototypes"}}],
)
def test_meta_steps_without_styles_are_refused_before_any_image(generate: dict) -> None:
    overrides = {"generate": generate, "distill": {"meta": {"mode": "first_order"}}}
    with pytest.raises(ConfigError, match="meta steps compare styles"):
        check_styles(settings_for("petals", overrides=overrides))


def test_a_device_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["build", "--device", "cuda:77", "--work-dir", str(tmp_path)])
    assert isinstance(found.exception, ConfigError) and "--device cuda:77" in str(found.exception)
    assert not any(tmp_path.iterdir())


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


def test_the_miniatures_are_offline_and_the_full_scale_is_not() -> None:
    for name in SYSTEMS:
        made = paper(name)
        row = next(iter(made.rows))
        mini = made.settings(row, made.scales["mini"], "petals", made.scales["mini"].shots[0], 0)
        full = made.scales["full"]
        whole = made.settings(row, full, full.datasets[0], full.shots[0], 0)
        assert (
            mini.teacher.name == "petals"
            and mini.distill.student == "petal_cnn"
            and mini.image.size == 32
        )
        assert whole.teacher.name.startswith("ViT-") and whole.image.size == 224


def test_later_layers_win_scale_then_row_then_the_scales_row() -> None:
    made = paper("sidclip")
    mini = made.scales["mini"]
    assert made.overrides("SIDCLIP", mini)["generate"]["per_class"] == 64
    assert made.overrides("a third of the images", mini)["generate"]["per_class"] == 21
    assert (
        made.overrides("a third of the images", made.scales["full"])["generate"]["per_class"] == 100
    )


def test_printed_numbers_are_found_by_dataset_row_and_shots() -> None:
    assert paper("sasaki").paper_says("flowers", "img2img CP", "all") == 50.8
    assert paper("sidclip").paper_says("flowers", "SIDCLIP", 4) == 88.89
    assert paper("sidclip").paper_says("flowers", "SIDCLIP", 3) is None
    assert paper("sidclip").paper_says("petals", "SIDCLIP", 1) is None


def test_the_printed_averages_of_system_a_are_the_papers() -> None:
    """The paper prints the mean of every column; the repaired cells have to give it (methods.md
    A.6).
    """
    made = paper("sasaki")
    columns = {row: [values[row] for values in made.printed.values()] for row in made.rows}
    means = [round(sum(column) / 6, 1) for column in columns.values()]  # type: ignore[arg-type]
    assert means == pytest.approx([73.2, 79.8, 76.0, 84.8, 81.3, 84.9, 80.6, 83.6], abs=0.051)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("signs: [[SUP, nobody]]", "nobody"),
        ("color: red", "color"),
        ("scales: {mini: {datasets: [petals], shots: [1], seeds: 0}}", "seeds"),
    ],
)
def test_a_broken_file_is_refused(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "system: X\ntitle: t\nwhere: w\npreset: smoke\nrows: {SUP: {}}\n"
    scales = (
        "" if "scales" in text else "scales: {mini: {datasets: [petals], shots: [1], seeds: 1}}\n"
    )
    (tmp_path / "broken.yaml").write_text(head + scales + text)
    monkeypatch.setattr(methods, "PAPERS", tmp_path)
    methods.paper.cache_clear()
    with pytest.raises(ConfigError, match=said):
        methods.paper("broken")
    methods.paper.cache_clear()


def test_list_methods_names_every_row_with_its_strategy_and_objective() -> None:
    lines = names("methods")
    assert len(lines) == sum(len(paper(name).all_rows()) for name in methods.names())
    assert any(
        "img2img CP" in line and line.split()[-1] == "cp" and "--preset sasaki" in line
        for line in lines
    )
    assert any("Contrastive-Prompt" in line and "inversion (contrastive)" in line for line in lines)


def test_unknown_papers_rows_and_scales_are_errors_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'sasaki'"):
        reproduce.plan_for("sasak")
    with pytest.raises(ConfigError, match="did you mean 'mini'"):
        reproduce.plan_for("sasaki", "minni")
    with pytest.raises(ConfigError, match="did you mean 'SUP'"):
        reproduce.plan_for("sasaki", rows=["SUPP"])


def test_a_dry_run_says_which_builds_there_are(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        app, ["reproduce", "sasaki", "--dry-run", "--seeds", "2", "--work-dir", str(tmp_path)]
    )
    assert found.exit_code == 0 and "img2img CP" in found.output and "18 builds" in found.output


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
    text = reproduce.page(plan, results, tmp_path, 1.0)
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

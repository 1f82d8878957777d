"""Papers as data: every row resolves and names rows of the tables; a broken file is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from compress.cli.listing import names
from compress.data.augment import views_each
from compress.data.datasets.catalog import CATALOG
from compress.distill.missing import check_styles, missing_student
from compress.distill.objectives import OBJECTIVES, require_labels, terms_of
from compress.distill.schedule import feature_steps_for, steps_for
from compress.engine.config import Settings, preset_names
from compress.engine.errors import ConfigError
from compress.generate.inversion.cutouts import augmentation
from compress.generate.missing import check as check_generators
from compress.generate.strategies.table import STRATEGIES
from compress.papers import methods
from compress.papers.cells import ANSWERS, MEASURES
from compress.papers.methods import AVERAGE, Paper, paper
from compress.papers.sizes import SIZES
from compress.teacher.loading import published
from compress.teacher.sources import Tag, TimmNet, locate
from compress.teacher.timm_net import require_timm

EVERY = [table for name in methods.names() for table in methods.tables(name)]
SYSTEMS = {"sasaki": "A", "sidclip": "B", "prompt-diversity": "C", "gendd": "D", "cvlm": "E"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_published_system_is_there_with_a_preset_of_its_own(name: str) -> None:
    table = paper(name)
    assert table.system == SYSTEMS[name] and table.preset in preset_names()
    assert table.inferred and table.rows and set(table.scales) >= {"mini", "full"}


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub answers: rows with teachers of timm then have the world of the hub."""
    monkeypatch.setattr("compress.engine.options.hub_answers", lambda: True)


@pytest.mark.parametrize("table", EVERY, ids=lambda table: f"{table.name}-{table.table}")
def test_every_row_of_every_table_resolves_at_every_scale(table: Paper, reachable: None) -> None:
    for scale in table.scales.values():
        shots = next(iter(scale.shots))
        for row in table.rows_of(scale):
            settings = table.settings(row, scale, scale.datasets[0], shots, 7)
            assert settings.seed == 7 and settings.data.dataset == scale.datasets[0]
            assert table.answer(row) in ANSWERS
            require_known_teacher(settings)
            if table.answer(row) == "teacher":
                continue
            assert settings.generate.strategy in STRATEGIES
            assert settings.distill.objective in OBJECTIVES
            check_generators(
                settings.generate
            )  # refuses a generator that does not take what the strategy gives it
            check_styles(settings)
            require_labels(settings.distill)
            if table.answer(row) == "sampling":
                assert "gendd" in terms_of(settings.distill)
            frozen = settings.distill.freeze_batch_norm and settings.distill.init == "random"
            assert not frozen, "statistics of random weights"
            small_clip = {"distill.init"} & set(table.inferred) and settings.distill.init == "clip"
            if settings.distill.init in ("clip", "generic") and not small_clip:
                assert missing_student(settings.distill, online=True) is None


def require_known_teacher(settings: Settings) -> None:
    """A model that open_clip or timm has, with weights of the tag."""
    source = locate(settings.teacher.name)
    if isinstance(source, TimmNet):
        require_timm(source)
    elif isinstance(source, Tag):
        assert published(source)


@pytest.mark.parametrize("table", EVERY, ids=lambda table: f"{table.name}-{table.table}")
def test_every_table_has_known_datasets_and_a_number_for_every_printed_cell(table: Paper) -> None:
    for scale in table.scales.values():
        assert set(scale.datasets) <= set(CATALOG)
        for shots in scale.shots:
            assert any(table.exists(row, shots) for row in table.rows_of(scale))
    for dataset, rows in table.printed.items():
        assert dataset in {*CATALOG, AVERAGE, SIZES}
        if dataset in (AVERAGE, SIZES):
            continue
        assert dataset in table.scales["full"].datasets
        columns = table.scales["full"].shots
        for row, figures in rows.items():
            if isinstance(figures, tuple):
                assert len(figures) == len(columns), row
            for at in columns:  # a figure of a cell that is never made would be lost
                has = table.printed_top1(dataset, row, at) is not None
                assert not has or row in table.not_made or table.exists(row, at), (row, at)


def test_further_tables_lie_over_the_main_one() -> None:
    main, table = paper("sidclip"), paper("sidclip", "table6")
    assert list(table.rows) == [
        "ENB0 + I + D",
        "a third of the images",
        "two thirds of the images",
        "SIDCLIP",
    ]
    for scale in ("mini", "full"):
        for row in table.rows:
            own = table.overrides(row, table.scales[scale])
            assert own == main.overrides(row, main.scales[scale])
    assert table.printed_top1("cars", "two thirds of the images", 2) == 69.36
    assert table.scales["mini"].shots == (0, 1) and main.scales["mini"].shots == (1,)
    assert not table.exists("ENB0 + I + D", 0) and table.exists("SIDCLIP", 0)
    whole = paper("sidclip", "table2")
    assert whole.printed_top1("food", "SIDCLIP", "all") == 87.47
    assert whole.printed_top1("food", "TinyViT 11M (Popp et al. 2024)", 4) is None
    with pytest.raises(ConfigError, match="did you mean 'table6'"):
        paper("sidclip", "table66")


def test_the_papers_missing_rows_exist() -> None:
    """The audit's list of rows and tables that could not be made."""
    made = {(table.name, table.table): set(table.all_rows()) for table in EVERY}
    assert made["sidclip", "main"] >= {"CLIP ViT-L/14", "TinyCLIP", "TinyViT-5M"}
    assert 0 in paper("sidclip").scales["full"].shots
    assert {f"table{n}" for n in range(2, 7)} <= set(paper("sidclip").tables)
    assert "imageclef" in paper("prompt-diversity").scales["full"].datasets
    assert "CLIP" in made["prompt-diversity", "main"]
    assert "Contrastive-Prompt (PromptStyler form)" in made["prompt-diversity", "main"]
    assert {"imagenet", "unlabeled", "cifar", "imbalanced"} <= set(paper("gendd").tables)
    assert "GenDD, sampled" in made["gendd", "main"]
    assert {"images", "table6", "sizes"} <= set(paper("cvlm").tables)
    assert len(paper("cvlm").scales["full"].datasets) == 11


@pytest.mark.parametrize(("name", "rounding"), [("sasaki", 0.051), ("cvlm", 0.0051)])
def test_the_printed_averages_are_the_means_of_the_cells(name: str, rounding: float) -> None:
    """System A's cells are repaired from damaged text: they give the means that it prints."""
    table = paper(name)
    for row, average in table.printed[AVERAGE].items():
        cells = [table.printed[dataset][row] for dataset in table.scales["full"].datasets]
        assert sum(cells) / len(cells) == pytest.approx(average, abs=rounding)  # type: ignore[arg-type]


def test_the_miniatures_are_offline_and_the_full_scale_is_not() -> None:
    for name in SYSTEMS:
        table = paper(name)
        row = next(iter(table.rows))
        mini = table.settings(row, table.scales["mini"], "petals", table.scales["mini"].shots[0], 0)
        full = table.scales["full"]
        whole = table.settings(row, full, full.datasets[0], full.shots[0], 0)
        assert (
            mini.teacher.name == "petals"
            and mini.distill.student == "petal_cnn"
            and mini.image.size == 32
        )
        assert whole.teacher.name.startswith("ViT-") and whole.image.size == 224


def test_later_layers_win_scale_then_row_then_the_scales_row() -> None:
    table = paper("sidclip")
    mini = table.scales["mini"]
    assert table.overrides("SIDCLIP", mini)["generate"]["per_class"] == 64
    assert table.overrides("a third of the images", mini)["generate"]["per_class"] == 21
    full = table.overrides("a third of the images", table.scales["full"])
    assert full["generate"]["per_class"] == 100


def test_printed_numbers_are_found_by_dataset_row_and_shots() -> None:
    assert paper("sasaki").printed_top1("flowers", "img2img CP", "all") == 50.8
    assert paper("sidclip").printed_top1("flowers", "SIDCLIP", 4) == 88.89
    assert paper("sidclip").printed_top1("flowers", "SIDCLIP", 3) is None
    assert paper("sidclip").printed_top1("petals", "SIDCLIP", 1) is None


def test_system_a_has_the_papers_budget_at_full_scale_in_every_row() -> None:
    """200 epochs of the real images by SGD; with five times the images as many updates."""
    table = paper("sasaki")
    full = table.scales["full"]
    real = 75_750  # of Food-101
    for row in table.all_rows():
        settings = table.settings(row, full, "food", "all", 0)
        distill = settings.distill
        synthetic = 0 if settings.generate.strategy == "none" else 4 * real
        assert settings.generate.synth_ratio == 4
        assert steps_for(distill, real + synthetic) == math.ceil(200 * real / 128), row
        recipe = (distill.optimizer, distill.momentum, distill.lr, distill.head_lr)
        assert recipe == ("sgd", 0.9, 0.1, 0.1)
        assert (distill.weight_decay, distill.batch, distill.warmup) == (5e-4, 128, 0)
        weights = (distill.feature_weight, distill.logit_weight, distill.condition_weight)
        assert weights == (1, 1, 1) and distill.temperature == 1
        assert (distill.student, distill.init, settings.image.size) == ("resnet50", "random", 224)
        assert settings.label.crop_scale_min == 0.5 and settings.label.flip
        assert settings.label.jitter == 0.2 and settings.label.randaug_num_ops == 0
        views = settings.label.real_views
        assert views is not None and views_each(real, views, settings.label.most_views) >= 7
    stages = table.settings("img2img FD, two stages", full, "flowers", "all", 0).distill
    assert feature_steps_for(stages, steps_for(stages, 5 * 1020)) == 797  # half of 1,594


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
    methods._read.cache_clear()
    with pytest.raises(ConfigError, match=said):
        methods.paper("broken")
    methods._read.cache_clear()


@pytest.mark.parametrize("scale", ["mini", "full"])
def test_the_inversions_of_system_e_are_compared_by_its_meta_loss(scale: str) -> None:
    """As in the paper's table; plain L_KD on the same images has rows of its own."""
    table = paper("cvlm")
    size = table.scales[scale]
    for row in ("Baseline inversion", "+ SDD", "+ CCM", "Meta L_KD"):
        settings = table.settings(row, size, size.datasets[0], 0, 0)
        check_styles(settings)
        assert settings.distill.meta.mode == "first_order" and settings.distill.objective == "kd"
        if row != "Meta L_KD":
            plain = table.settings(f"{row}, plain L_KD", size, size.datasets[0], 0, 0)
            assert plain.distill.meta.mode == "none" and plain.generate == settings.generate
        if "SDD" not in row and row != "Meta L_KD":
            words = settings.generate.prompts.words
            assert len(words) == 2 and len(set(words)) == 1 and "{}" in words[0]


@pytest.mark.parametrize("name", ["prompt-diversity", "cvlm"])
def test_c_and_e_crop_flip_and_jitter_and_the_miniatures_turn(name: str) -> None:
    """Not six operations of RandAugment on four fixed views, which are SIDCLIP's."""
    table = paper(name)
    for row in table.all_rows():
        full = table.settings(row, table.scales["full"], "pacs", 0, 0).label
        assert (full.randaug_num_ops, full.flip, full.rotate) == (0, True, 0)
        assert full.jitter > 0 and full.crop_scale_min < 1 and full.views > 4
        mini = table.settings(row, table.scales["mini"], "petals8", 0, 0).label
        assert mini.jitter == 0 and mini.rotate == 180


def test_the_miniatures_of_c_and_e_have_species_that_are_told_apart() -> None:
    for name in ("prompt-diversity", "cvlm"):
        table = paper(name)
        mini = table.scales["mini"]
        for row in table.all_rows():
            settings = table.settings(row, mini, mini.datasets[0], 0, 0)
            assert settings.data.dataset == "petals8" and settings.generate.per_class == 16
            assert not settings.distill.freeze_batch_norm and settings.distill.lr == 4e-3
            inversion = settings.generate.inversion
            assert augmentation(inversion.augment, inversion.image_size) == "noise"


def test_list_methods_names_every_row_with_its_strategy_and_objective() -> None:
    lines = names("methods")
    assert len(lines) == sum(len(table.all_rows()) for table in EVERY)
    assert any(
        "img2img CP" in line and line.split()[-1] == "cp" and "--preset sasaki" in line
        for line in lines
    )
    assert any("Contrastive-Prompt" in line and "inversion (contrastive)" in line for line in lines)


def test_every_table_is_measured_on_something_that_exists() -> None:
    assert {table.measured_on for table in EVERY} == {*MEASURES, SIZES}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tables: {more: {rows: {SUP: {}}, signs: [[SUP, nobody]], scales: {mini: {}}}}", "nobody"),
        ("tables: {more: {rows: {SUP: {}}, scales: {mini: {}}, printed: {food: {X: 1}}}}", "X"),
        ("tables: {more: {rows: {SUP: {}}}}", "scales"),
    ],
)
def test_a_broken_table_is_refused_by_its_name(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "system: X\ntitle: t\nwhere: w\npreset: smoke\nrows: {SUP: {}}\n"
    scales = "scales: {mini: {datasets: [petals], shots: [1], seeds: 1}}\n"
    (tmp_path / "broken.yaml").write_text(head + scales + text)
    monkeypatch.setattr(methods, "PAPERS", tmp_path)
    methods._read.cache_clear()
    with pytest.raises(ConfigError, match=f"table more.*{said}"):
        methods.paper("broken", "more")
    methods._read.cache_clear()

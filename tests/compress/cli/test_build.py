"""Hosts that a build cannot run on, and what a dry run prints."""

from __future__ import annotations

from pathlib import Path

from image_folders import image_folder
from typer.testing import CliRunner

from compress.cli.app import app
from compress.engine.errors import ConfigError


def test_a_device_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["build", "--device", "cuda:77", "--work-dir", str(tmp_path)])
    assert isinstance(found.exception, ConfigError) and "--device cuda:77" in str(found.exception)
    assert not any(tmp_path.iterdir())


def test_the_command_prints_the_estimate_under_the_plan(smoke_work: Path) -> None:
    arguments = ["build", "--shots", "1", "--preset", "smoke", "--set", "distill.steps=24"]
    where = ["--work-dir", str(smoke_work), "--dry-run"]
    shown = CliRunner().invoke(app, [*arguments, *where])
    assert shown.exit_code == 0, shown.output
    text = shown.stdout.splitlines()
    first = next(number for number, line in enumerate(text) if line.startswith("estimate"))
    assert text[first].startswith("estimate   distill   24 steps · ")
    assert "measured here" in text[first]
    assert text[0].startswith("petals-1shot-s0: about ") and "export, bench, report are" in text[0]
    assert text[first - 1] == "then       quantize, export, bench, report"
    assert text[first - 2].startswith("distill    make     ")
    done = CliRunner().invoke(app, [*arguments[:-2], *where])
    assert "estimate" not in done.stdout


def test_a_dry_run_refuses_what_the_build_does_and_makes_nothing(tmp_path: Path) -> None:
    plain = ["build", "--preset", "smoke", "--shots", "1", "--offline"]
    plain += ["--work-dir", str(tmp_path / "w")]
    wrong = ["--set", "label.pools=[]", "--set", "quantize.float_blocks=[nope]", "--name", "a/b"]
    dry, wet = (CliRunner().invoke(app, [*plain, *wrong, *flag]) for flag in (["--dry-run"], []))
    assert isinstance(dry.exception, ConfigError) and not dry.stdout
    assert str(dry.exception) == str(wet.exception) and "  3. " in str(dry.exception)
    engine = CliRunner().invoke(app, [*plain, "--engine", "rai", "--dry-run"])
    assert "unknown --engine" in str(engine.exception)
    assert not any(tmp_path.iterdir())


def test_a_dry_run_notes_what_is_not_on_this_machine_and_estimates(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "photos")
    away = ["build", "--data", str(folder), "--shots", "1", "--offline", "--preset", "sidclip"]
    away += ["--teacher", "ViT-L-14/openai", "--work-dir", str(tmp_path / "w")]
    huge = ["--set", "generate.per_class=2000000000", "--dry-run"]
    planned = CliRunner().invoke(app, [*away, *huge])
    assert planned.exit_code == 0, planned.exception
    assert "estimate   generate" in planned.stdout and "ViT-L-14" in planned.stderr
    assert "the disk is full" in planned.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]

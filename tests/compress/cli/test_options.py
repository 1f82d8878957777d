"""Options that commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from compress.cli.app import app
from compress.cli.options import HostOptions, SettingsOptions, class_names, parse_shots
from compress.engine.errors import ConfigError


def options_of(command: str) -> list[str]:
    parameters = get_command(app).commands[command].params  # type: ignore[attr-defined]
    return [name for parameter in parameters for name in parameter.opts]


def test_build_and_explain_share_the_options_of_settings() -> None:
    shared = options_of("build")[: options_of("build").index("--device")]
    assert shared[:3] == ["--dataset", "--data", "--classes"] and "--config" in shared
    assert options_of("explain") == ["stage", *shared, "--work-dir"]


def test_a_file_where_names_belong_names_the_other_option(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("rose\noak\n")
    with pytest.raises(ConfigError, match=r"--classes-file .*names\.txt"):
        class_names(str(tmp_path / "names.txt"), None)
    assert class_names("rose, oak", None) == ["rose", "oak"]


def test_an_option_reaches_the_settings() -> None:
    settings = SettingsOptions(dataset="petals", shots="2", seed=3, set_=["distill.steps=7"])
    resolved = settings.settings(["p50<=5ms"])
    assert (resolved.data.shots, resolved.seed, resolved.distill.steps) == (2, 3, 7)
    assert resolved.budget.limits == ("p50<=5ms@host",)


def test_the_classes_of_a_teacher_come_from_a_bundle_by_either_name() -> None:
    assert {"--classes-from", "--bundle"} <= set(options_of("export"))


def test_shots_are_a_number_or_all() -> None:
    assert parse_shots("all") == "all" and parse_shots("16") == 16
    with pytest.raises(ConfigError, match="--shots is no number"):
        parse_shots("few")


def test_class_names_come_from_one_place(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("rose\n\n water lily \n")
    assert class_names(None, None) is None
    assert (
        class_names("rose, water lily,", None) == class_names(None, file) == ["rose", "water lily"]
    )
    with pytest.raises(ConfigError, match="given twice"):
        class_names("rose", file)
    with pytest.raises(ConfigError, match="no such file"):
        class_names(None, tmp_path / "absent.txt")


@pytest.mark.parametrize("names", ["rose,,oak", ",rose,oak", "rose, ,oak", ","])
def test_an_empty_class_name_is_not_dropped(names: str) -> None:
    with pytest.raises(ConfigError, match="a class name is empty.*check the commas"):
        class_names(names, None)


def test_a_device_that_torch_cannot_use_is_refused() -> None:
    assert HostOptions(workers=3).settings().workers == 3
    with pytest.raises(ConfigError, match="--device cpu"):
        HostOptions(device="nonsense").settings()
    assert HostOptions(device="cuda", engine="ray").settings().device == "cuda", "of the workers"


def test_every_command_has_help() -> None:
    for command in get_command(app).commands:  # type: ignore[attr-defined]
        if command not in (
            "classify",
            "bench",
            "verify",
            "stream",
            "add-class",
        ):  # the device side answers these
            done = CliRunner().invoke(app, [command, "--help"])
            assert done.exit_code == 0 and "Usage" in done.output

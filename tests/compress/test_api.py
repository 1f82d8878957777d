"""Whole builds on the embedded world, through the command line and through the typed calls."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import cli, cli_here
from paths import ROOT

import compress
from compress.api import settings_for
from compress.engine.errors import ConfigError, DataError, DownloadError
from runtime import Classifier


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_a_build_leaves_a_bundle_and_a_report(smoke: Path) -> None:
    report = json.loads((smoke / "report.json").read_text())
    assert report["schema"] == 1 and report["dataset"]["shots"] == 1
    assert {"teacher", "student_fp32", "student_int8"} <= set(report["accuracy"])
    assert all(0 <= row["top1"] <= 1 for row in report["accuracy"].values())
    assert set(report["timings_s"]) >= {
        "data",
        "teacher",
        "generate",
        "label",
        "distill",
        "quantize",
        "export",
        "bench",
    }
    for name in ("report.html", "report.md", "config.yaml", "run.json", "log.jsonl"):
        assert (smoke / name).stat().st_size > 0
    names = {path.name for path in (smoke / "bundle").iterdir()}
    assert names >= {
        "manifest.json",
        "model.int8.onnx",
        "model.int8.trt.onnx",
        "model.fp32.onnx",
        "preprocess.json",
        "labels.json",
        "labels.txt",
        "golden.npz",
        "README.md",
        "provenance.json",
    }


def test_the_bundle_classifies(smoke: Path) -> None:
    import numpy as np

    model = Classifier.load(smoke / "bundle")
    image = np.load(smoke / "data" / "test.npy")[0]
    best = model.predict(image, top_k=3)
    assert (
        len(best) == 3
        and best[0].label in model.labels
        and best[0].probability >= best[1].probability
    )


def test_the_second_identical_build_does_nothing(smoke_work: Path) -> None:
    done = cli(
        "build",
        "--dataset",
        "petals",
        "--shots",
        "1",
        "--preset",
        "smoke",
        "--name",
        "smoke",
        "--quiet",
        work=smoke_work,
    )
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout and "report.html" in done.stdout


def test_plan_explain_show_list_clean(smoke_work: Path) -> None:
    same = ("--shots", "1", "--preset", "smoke")
    plan = cli_here("build", *same, "--set", "distill.steps=13", "--dry-run", work=smoke_work)
    actions = {
        line.split()[0]: line.split()[1]
        for line in plan.stdout.splitlines()
        if line and not line.startswith(" ")
    }
    assert actions["label"] == "keep" and actions["distill"] == "make"
    assert "then       quantize, export, bench, report" in plan.stdout.splitlines()
    why = cli_here("explain", "distill", *same, "--set", "distill.steps=13", work=smoke_work)
    assert "settings.distill.steps: 12 -> 13" in why.stdout
    assert "smoke" in cli_here("show", work=smoke_work).stdout
    assert "student int8" in cli_here("show", "smoke", work=smoke_work).stdout
    assert "flowers" in cli_here("list", "datasets", work=smoke_work).stdout.split()
    cli_here("clean", work=smoke_work)  # what other tests left in the shared folder
    assert "removed 0 stage folders" in cli_here("clean", work=smoke_work).stdout
    assert (smoke_work / "runs" / "smoke" / "export" / "stage.json").exists()


def test_typed_call_equals_command_line(smoke_work: Path) -> None:
    run = compress.build("petals", shots=1, preset="smoke", work_dir=smoke_work, name="typed")
    assert run.made == [] and run.report["dataset"]["name"] == "petals"
    assert tree(run.bundle) == tree(smoke_work / "runs" / "smoke" / "bundle")


def test_config_yaml_repeats_a_run(smoke_work: Path) -> None:
    config = smoke_work / "runs" / "smoke" / "config.yaml"
    done = cli_here("build", "--config", str(config), "--name", "again", "--quiet", work=smoke_work)
    assert done.returncode == 0 and "nothing to do" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dataset", "flower"), "did you mean 'flowers'"),
        (("--teacher", "ViT-L-114/openai", "--dataset", "flowers"), "ViT-L-14"),
        (("--student", "mobilenetv5_conv_small"), "mobilenetv4_conv_small"),
        (("--preset", "sidclp"), "did you mean 'sidclip'"),
        (("--set", "distill.step=3"), "distill.steps"),
        (("--until", "distil"), "did you mean 'distill'"),
        (("--dataset", "petals", "--data", "x"), "more than one source"),
        (("--classes", "a,b", "--shots", "3"), "shots must be 0"),
    ],
)
def test_a_wrong_name_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    rest = [
        word
        for flag, value in (("--preset", "smoke"), ("--shots", "1"))
        if flag not in arguments
        for word in (flag, value)
    ]
    done = cli_here("build", *arguments, *rest, "--quiet", work=tmp_path)
    assert done.returncode == 2 and says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_the_real_thing_without_a_network_is_one_clear_error_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    done = cli("build", "--dataset", "flowers", "--shots", "4", work=tmp_path)
    assert done.returncode == 2 and time.monotonic() - start < 60
    for part in (
        "flowers-102",
        "ViT-L-14",
        "--teacher",
        "--generator",
        "compress build --dataset petals",
    ):
        assert part in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "store").exists()


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    from PIL import Image

    def build(folder: Path, shots: int = 1) -> None:
        compress.build(
            data=folder,
            shots=shots,
            offline=True,
            preset="smoke",
            work_dir=tmp_path / "work",
            until="data",
        )

    one = tmp_path / "one" / "rose"
    one.mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(one / "a.png")
    with pytest.raises(DataError):
        build(tmp_path / "one")
    (tmp_path / "one" / "tulip").mkdir()
    with pytest.raises(DataError, match="tulip"):
        build(tmp_path / "one")
    with pytest.raises((DataError, ConfigError), match="absent"):
        build(tmp_path / "absent")


def test_class_names_alone_need_a_teacher_that_knows_them(tmp_path: Path) -> None:
    names = ["water lily", "ant"]
    with pytest.raises(ConfigError, match="no name it knows .* water lily .*--teacher MODEL/TAG"):
        compress.build(classes=names, offline=True, work_dir=tmp_path)
    with pytest.raises(DownloadError, match="ViT-B-32"):
        compress.build(classes=names, offline=True, preset="cvlm", work_dir=tmp_path)


def test_a_folder_without_a_hub_uses_the_photo_world_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    resolved = settings_for(data=tmp_path / "x", offline=True)
    assert resolved.teacher.name == "timm:tf_efficientnet_lite0"
    assert "EfficientNet-Lite0" in resolved.notes[0]


@pytest.mark.slow
def test_killed_at_three_random_moments_gives_the_same_bundle(tmp_path: Path) -> None:
    options = ("--dataset", "petals", "--shots", "1", "--preset", "smoke", "--quiet")
    options += (
        "--set",
        "distill.steps=120",
        "--set",
        "quantize.steps=40",
        "--set",
        "generate.per_class=12",
    )
    start = time.monotonic()
    whole = cli("build", *options, "--name", "whole", work=tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    seconds = time.monotonic() - start
    env = {**os.environ, "CLIP2EDGE_WORK": str(tmp_path / "killed"), "HF_HUB_OFFLINE": "1"}
    moments = random.Random(7)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "compress", "build", *options, "--name", "whole"],
            env=env,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moments.uniform(0.2, 0.8) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = cli("build", *options, "--name", "whole", work=tmp_path / "killed")
    assert resumed.returncode == 0, resumed.stderr
    first, second = (
        tree(tmp_path / side / "runs" / "whole" / "bundle") for side in ("whole", "killed")
    )
    assert first == second

"""Classes that join a bundle: every reader finds them, and a kill leaves a whole bundle."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from manifests import manifest_of
from odd_models import reseal
from tiny_bundles import (
    LABELS,
    class_photos,
    growing_bundle,
    make_bundle,
    rejecting_bundle,
    with_confidence,
)

from export.targets.write import export_targets
from runtime import Classifier, golden
from runtime.bundle import open_bundle
from runtime.errors import BundleError, ImageError
from runtime.files import golden_npz
from runtime.learning import add_class as adding
from runtime.learning.add_class import add_class
from runtime.learning.calibration import MOST
from runtime.learning.write import added_classes

K = len(LABELS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("source")
    return growing_bundle(scratch / "bundle", scratch)


@pytest.fixture
def bundle(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "bundle"))


@pytest.fixture
def tulips(tmp_path: Path) -> Path:
    return class_photos(tmp_path / "photos" / "lily", 4)


def tree(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_every_reader_finds_the_class(bundle: Path, source: Path, tulips: Path) -> None:
    done = add_class(bundle, tulips)
    assert done.labels == K + 1 and done.dropped == () and done.classes[0].photos == 4
    assert done.classes[0].nearest in {row["name"] for row in LABELS}
    opened = open_bundle(bundle)
    assert opened.labels[K].name == "lily"
    assert json.loads((bundle / "labels.json").read_text())[K] == {"index": K, "name": "lily"}
    assert (bundle / "labels.txt").read_text().splitlines()[K] == "lily"
    config = json.loads((bundle / "config.json").read_text())
    assert config["id2label"][str(K)] == "lily" and config["num_labels"] == K + 1
    assert "1 of the 5 classes" in (bundle / "README.md").read_text()
    states = {step.name: step.state for step in golden.verify(bundle, threads=1)}
    assert set(states.values()) == {golden.OK} and "logits onnx/model.onnx" in states
    unseen = class_photos(tulips.parent.parent / "unseen", 6, first=20)
    files = sorted(unseen.iterdir())
    for precision in opened.models:
        model = Classifier.load(bundle, precision, threads=1)
        before = Classifier.load(source, precision, threads=1)
        logits = model.logits(files)
        assert np.array_equal(logits[:, :K], before.logits(files))
        row = added_classes(bundle, opened.manifest)[0]
        how = row.models[precision]
        want = how["scale"] * model.features(files) @ row.row + how["offset"]
        np.testing.assert_allclose(logits[:, K], want, rtol=1e-4, atol=1e-4)
        assert (logits.argmax(1) == K).mean() > 0.5
        own = Classifier.load(opened.models[precision], threads=1)  # the file alone
        assert own.labels[K] == "lily" and own.predict(files[0], 1)[0].label == "lily"
    cosines = model.features(files) @ model.rejection.prototypes.T
    assert (cosines.argmax(1) == K).mean() > 0.5 and model.rejection.prototypes.shape[0] == K + 1


def test_the_row_is_the_prototype_less_the_others(bundle: Path, tulips: Path) -> None:
    known = Classifier.load(bundle, "fp32").rejection.prototypes
    model = Classifier.load(bundle, "fp32", threads=1)
    pixels = model.pixels(sorted(tulips.iterdir()))
    views = np.stack([view for one in pixels for view in (one, one[:, ::-1])])
    mean = model.logits_u8(views, "features").astype(np.float64).mean(axis=0)
    add_class(bundle, tulips)
    (row,) = added_classes(bundle, manifest_of(bundle))
    np.testing.assert_allclose(row.prototype, mean / np.linalg.norm(mean), atol=1e-3)
    np.testing.assert_allclose(row.row, row.prototype - known.mean(axis=0), atol=1e-6)
    assert row.models["fp32"]["scale"] == 60.0
    assert 0 <= row.models["fp32"]["offset"] <= 60 * MOST


def test_in_place_keeps_what_is_the_users_and_out_leaves_the_source(
    bundle: Path, source: Path, tulips: Path, tmp_path: Path
) -> None:
    (bundle / "mine.txt").write_text("mine", encoding="utf-8")
    (bundle / "onnx" / "mine").symlink_to("../mine.txt")
    done = add_class(bundle, tulips, out=tmp_path / "new", name="stripes")
    assert done.bundle == tmp_path / "new" and "mine.txt" not in tree(tmp_path / "new")
    assert {k: v for k, v in tree(bundle).items() if "mine" not in k} == tree(source)
    add_class(bundle, tulips, name="stripes")
    assert (bundle / "mine.txt").read_text() == "mine" and (bundle / "onnx/mine").is_symlink()
    assert {k: v for k, v in tree(bundle).items() if "mine" not in k} == tree(tmp_path / "new")
    with pytest.raises(BundleError, match="exists already"):
        add_class(bundle, tulips, out=tmp_path / "new", name="x")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["bundle", "new", "photos"]


def test_one_after_the_other_and_several_at_once(bundle: Path, tmp_path: Path) -> None:
    class_photos(tmp_path / "more" / "red", 3, 0, 0)
    class_photos(tmp_path / "more" / "green", 3, 30, 1)
    class_photos(tmp_path / "blue", 3, 60, 2)
    assert [one.name for one in add_class(bundle, tmp_path / "more").classes] == ["green", "red"]
    add_class(bundle, tmp_path / "blue")
    opened = open_bundle(bundle)
    assert [label.name for label in opened.labels[K:]] == ["green", "red", "blue"]
    assert opened.manifest["added"]["steps"] == [2, 1]
    assert [one.photos for one in added_classes(bundle, opened.manifest)] == [3, 3, 3]
    assert "last 3 of the 7 classes" in (bundle / "README.md").read_text()
    assert (bundle / "README.md").read_text().count("## Classes added") == 1
    trained = opened.manifest["added"]["trained"]["labels.json"]
    assert trained != opened.manifest["files"]["labels.json"]
    assert {step.state for step in golden.verify(bundle, threads=1)} == {golden.OK}
    model = Classifier.load(bundle, threads=1)
    for name in ("green", "red"):
        files = sorted((tmp_path / "more" / name).iterdir())
        assert np.mean([row[0].label == name for row in model.predict(files, 1)]) >= 2 / 3


@pytest.mark.parametrize("stage", ["write_added", "swap", "require_unchanged"])
def test_a_kill_before_the_swap_changes_nothing(
    stage: str, bundle: Path, source: Path, tulips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    if stage == "require_unchanged":
        monkeypatch.setattr("runtime.bundle.Bundle.require_unchanged", killed)
    else:
        monkeypatch.setattr(adding, stage, killed)
    with pytest.raises(KeyboardInterrupt):
        add_class(bundle, tulips)
    assert tree(bundle) == tree(source)


def test_a_bundle_that_changes_meanwhile_is_left_alone(
    bundle: Path, tulips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = adding.write_added

    def slow(*args: object, **kwargs: object) -> tuple[str, ...]:
        done = real(*args, **kwargs)  # type: ignore[arg-type]
        file = bundle / "manifest.json"
        file.with_suffix(".x").write_bytes(file.read_bytes())
        os.replace(file.with_suffix(".x"), file)
        return done

    monkeypatch.setattr(adding, "write_added", slow)
    with pytest.raises(BundleError, match="was replaced while"):
        add_class(bundle, tulips)
    assert len(open_bundle(bundle).labels) == K


def test_what_a_kill_between_two_renames_left_is_taken_up(bundle: Path, tulips: Path) -> None:
    os.replace(bundle, bundle.with_name(".bundle.old"))
    assert add_class(bundle, tulips).labels == K + 1


def test_a_class_that_cannot_be_added_leaves_the_bundle(
    bundle: Path, source: Path, tulips: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ImageError, match="no photo of 'bad' can be read.*a.jpg"):
        add_class(bundle, tmp_path / "bad")
    with pytest.raises(BundleError, match="has this class already"):
        add_class(bundle, tulips, name="rose")
    assert tree(bundle) == tree(source)


def test_bundles_of_before_say_what_to_do(tmp_path: Path, tulips: Path) -> None:
    (tmp_path / "a").mkdir()
    plain = make_bundle(tmp_path / "a" / "plain", tmp_path / "a", features=True)
    with pytest.raises(BundleError, match="no prototypes.*compress build"):
        add_class(plain, tulips)
    rejecting = rejecting_bundle(tmp_path / "rejecting", tmp_path)
    confidence = manifest_of(rejecting)["confidence"]
    for row in confidence["rejection"]["models"].values():
        row["scales"] = {}
    silent = with_confidence(
        rejecting,
        tmp_path / "silent",
        {"rejection": {**confidence["rejection"], "score": "energy"}},
    )
    with pytest.raises(BundleError, match="how large its logits are.*compress build"):
        add_class(silent, tulips)
    (tmp_path / "b").mkdir()
    bare = make_bundle(tmp_path / "b" / "bare", tmp_path / "b")
    told = {"score": "energy", "keep": 0.9, "prototypes": "prototypes.npz", "models": {}}
    prototypes = np.ones((K, 32), np.float16)
    scales = {"models": {"fp32": {"scale": 9.0}}}
    no_features = with_confidence(
        bare, tmp_path / "old", {"rejection": told, "classes": scales}, prototypes
    )
    with pytest.raises(BundleError, match="has no features.*compress build"):
        add_class(no_features, tulips)


def test_targets_take_the_class_or_are_dropped(bundle: Path, tulips: Path) -> None:
    export_targets(bundle, ["fp32.batch1", "fp32.logits", "fp16", "fp32.ort"])
    assert set(add_class(bundle, tulips).dropped) == {"fp32.logits", "fp32.ort"}
    opened = open_bundle(bundle)
    assert set(opened.targets) == {"fp32.batch1", "fp16"}
    assert not [name for name in opened.manifest["files"] if "ort" in name or ".logits" in name]
    assert not (bundle / "model.fp32.ort").exists()
    states = {step.name: step.state for step in golden.verify(bundle, threads=1)}
    for target in opened.targets:
        assert states[f"logits {target}"] == states[f"features {target}"] == golden.OK
        model = Classifier.load(bundle, target, threads=1)
        assert model.predict(sorted(tulips.iterdir())[0])[0].label == "lily"
    export_targets(bundle, ["fp32.logits"])  # comes back with the class
    assert Classifier.load(bundle, "fp32.logits", threads=1).labels[K] == "lily"


def test_a_zipped_bundle_and_a_link(bundle: Path, tulips: Path, tmp_path: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", bundle)
    with pytest.raises(BundleError, match="cannot take a class in place.*--out"):
        add_class(packed, tulips)
    assert add_class(packed, tulips, out=tmp_path / "unpacked").labels == K + 1
    (tmp_path / "link").symlink_to("bundle")
    add_class(tmp_path / "link", tulips)
    assert (tmp_path / "link").is_symlink() and len(open_bundle(bundle).labels) == K + 1


def test_damaged_rows_are_told(bundle: Path, tulips: Path) -> None:
    add_class(bundle, tulips)
    golden_npz.write(bundle / "added.npz", {"rows": np.zeros((1, 3), np.float32)})
    reseal(bundle)
    with pytest.raises(BundleError, match="rows of the added classes"):
        added_classes(bundle, manifest_of(bundle))

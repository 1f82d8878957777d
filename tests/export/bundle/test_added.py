"""A build that ends with the same models keeps the classes that were added; another one says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from odd_models import change, times
from tiny_bundles import class_photos, growing_bundle

from export.bundle.publish import publish_bundle
from export.targets.write import export_targets
from runtime import Classifier
from runtime.bundle import open_bundle
from runtime.learning.add_class import add_class


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("built")
    return growing_bundle(scratch / "bundle", scratch)


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    """Published, with two classes in two steps."""
    publish_bundle(built, tmp_path / "bundle")
    add_class(tmp_path / "bundle", class_photos(tmp_path / "photos" / "lily", 3))
    add_class(tmp_path / "bundle", class_photos(tmp_path / "photos" / "clover", 3, 30, 1))
    return tmp_path / "bundle"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_the_same_build_changes_nothing(built: Path, bundle: Path) -> None:
    before = tree(bundle)
    done = publish_bundle(built, bundle)
    assert done.same_model and done.notes == () and tree(bundle) == before
    assert not [path for path in bundle.parent.iterdir() if path.name.startswith(".bundle")]


def test_a_target_and_a_damaged_file_are_kept_and_mended(built: Path, bundle: Path) -> None:
    export_targets(bundle, ["fp16"])
    before = tree(bundle)
    (bundle / "labels.txt").write_text("damaged", encoding="utf-8")
    done = publish_bundle(built, bundle)
    assert done.same_model and "mended" in " ".join(done.notes), done.notes
    assert tree(bundle) == before and "fp16" in open_bundle(bundle).targets
    assert Classifier.load(bundle, "fp16", threads=1).labels[4:] == ("lily", "clover")


def test_another_model_drops_them_and_says_so(built: Path, bundle: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(built, tmp_path / "other"))
    change(other, ("model.fp32.onnx",), times(2.0))
    done = publish_bundle(other, bundle)
    assert not done.same_model
    assert "dropped, because the model is another: lily, clover" in " ".join(done.notes)
    assert len(open_bundle(bundle).labels) == 4


def test_damaged_rows_do_not_stop_a_build(built: Path, bundle: Path) -> None:
    (bundle / "added.npz").write_bytes(b"x" * (bundle / "added.npz").stat().st_size)
    publish_bundle(built, bundle)
    assert len(open_bundle(bundle).labels) == 4

"""A build puts its bundle into the run folder: what stays, what is mended, what is dropped."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from manifests import manifest_of
from tiny_bundles import LABELS, SPEC, encoded, float_model, make_bundle, photo

from compress.engine.errors import StoreError
from export.bundle import publish
from export.bundle.folder import held
from export.bundle.publish import publish_bundle
from export.bundle.write import seal, update_default, write_bundle
from export.targets.write import export_targets
from runtime import golden, open_bundle
from runtime.bundle import GOLDEN, MANIFEST

TARGET = "fp32.batch1"
FILE = f"model.{TARGET}.onnx"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fresh")
    return make_bundle(root / "bundle", root)


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of another model with the same file names."""
    root = tmp_path_factory.mktemp("retrained")
    models = {"fp32": float_model(root / "a.onnx", seed=1)}
    images = [encoded(photo(1))]
    write_bundle(root / "bundle", models, SPEC, LABELS, {"seed": 1}, images, "# tiny\n", "fp32")
    return root / "bundle"


@pytest.fixture(scope="module")
def exported(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export_targets(fresh, [TARGET], out=folder)
    return folder


@pytest.fixture
def published(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def flip(file: Path) -> None:
    text = bytearray(file.read_bytes())
    text[len(text) // 2] ^= 1
    file.write_bytes(text)


def test_the_first_publication_is_the_build_s_bundle(fresh: Path, tmp_path: Path) -> None:
    result = publish_bundle(fresh, tmp_path / "bundle")
    assert content(tmp_path / "bundle") == content(fresh)
    assert result.notes == () and not result.same_model
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_another_default_is_all_that_changes(fresh: Path, tmp_path: Path) -> None:
    publish_bundle(fresh, tmp_path / "bundle", "fp32")
    shutil.copytree(fresh, tmp_path / "expected")
    update_default(tmp_path / "expected", "fp32")
    assert content(tmp_path / "bundle") == content(tmp_path / "expected")


def test_additions_stay_and_nothing_is_written(fresh: Path, published: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in published.rglob("*")}
    assert publish_bundle(fresh, published).same_model
    assert {path: path.stat().st_mtime_ns for path in published.rglob("*")} == before
    assert TARGET in open_bundle(published).targets


def test_a_build_waits_for_an_export_and_no_longer_than_it_has_to(
    fresh: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(1) as threads:
        with held(published):
            waiting = threads.submit(publish_bundle, fresh, published)
            assert not wait([waiting], timeout=0.3).done
        assert waiting.result(timeout=60).same_model
    monkeypatch.setattr(publish, "WAIT_S", 0.0)
    with held(published), pytest.raises(StoreError, match="a change of 'bundle'"):
        publish_bundle(fresh, published)


@pytest.mark.parametrize("name", ["model.int8.onnx", "labels.json", "README.md", GOLDEN, MANIFEST])
def test_a_damaged_file_of_the_build_is_mended(fresh: Path, tmp_path: Path, name: str) -> None:
    publish_bundle(fresh, tmp_path / "bundle")
    flip(tmp_path / "bundle" / name)
    result = publish_bundle(fresh, tmp_path / "bundle")
    assert content(tmp_path / "bundle") == content(fresh)
    assert len(result.notes) == 1 and name in result.notes[0]
    assert publish_bundle(fresh, tmp_path / "bundle").notes == ()


@pytest.mark.parametrize("file", ["labels.json", "model.int8.onnx", "README.md", FILE])
@pytest.mark.parametrize("key", ["bytes", "sha256"])
def test_a_damaged_row_of_the_manifest_is_told_and_costs_no_addition(
    fresh: Path, exported: Path, published: Path, file: str, key: str
) -> None:
    manifest = manifest_of(published)
    row = manifest["files"][file]
    row[key] = row[key] + 1 if key == "bytes" else row[key].translate({ord("0"): "1"})
    (published / MANIFEST).write_text(json.dumps(manifest))
    result = publish_bundle(fresh, published)
    if file == FILE:  # nothing but its row says what it should be
        assert f"because damaged: {FILE}" in result.notes[0]
    else:
        assert MANIFEST in result.notes[0] and len(result.notes) == 1
        assert content(published) == content(exported)


def test_a_file_that_is_gone_comes_back(fresh: Path, exported: Path, published: Path) -> None:
    (published / "model.int8.onnx").unlink()
    publish_bundle(fresh, published)
    assert content(published) == content(exported)


def test_a_damaged_addition_is_dropped_with_a_note(fresh: Path, published: Path) -> None:
    flip(published / FILE)
    result = publish_bundle(fresh, published)
    assert f"because damaged: {FILE}" in result.notes[0]
    assert TARGET not in open_bundle(published).targets and not (published / FILE).exists()


def test_additions_of_another_model_are_dropped_with_a_note(
    retrained: Path, published: Path
) -> None:
    result = publish_bundle(retrained, published)
    assert not result.same_model
    assert "because of another model" in result.notes[0] and FILE in result.notes[0]
    assert content(published) == content(retrained)


def test_files_of_the_user_s_stay_whatever_happens(
    fresh: Path, retrained: Path, published: Path
) -> None:
    (published / "notes.txt").write_text("mine")
    (published / "bench").mkdir()
    (published / "bench" / "pi.json").write_text("{}")
    for source in (retrained, fresh):
        publish_bundle(source, published)
        assert (published / "notes.txt").read_text() == "mine"
        assert (published / "bench" / "pi.json").exists()


def test_a_damaged_manifest_keeps_the_files_it_listed(fresh: Path, published: Path) -> None:
    (published / MANIFEST).write_text("{")
    result = publish_bundle(fresh, published)
    assert "made again" in result.notes[0] and (published / FILE).exists()
    assert open_bundle(published).default == open_bundle(fresh).default


def test_a_mixed_model_stays_the_default_with_its_golden_logits(
    fresh: Path, published: Path
) -> None:
    """As ``compress sensitivity --write`` leaves the bundle."""
    shutil.copyfile(published / "model.fp32.onnx", published / "model.mixed.onnx")
    opened = open_bundle(published, verify=False)
    arrays = golden.read(published / GOLDEN)
    logits = next(value for name, value in arrays.items() if name.startswith("logits"))
    golden.write(published / GOLDEN, {**arrays, "logits.mixed": np.zeros_like(logits)})
    row = {"file": "model.mixed.onnx", "state": "verified", "why": "x", "parity": None}
    models = {**opened.manifest["models"], "mixed": "model.mixed.onnx"}
    targets = {**opened.targets, "mixed": row}
    seal(published, models, "mixed", targets, default_reason="fast")
    before = content(published)
    assert publish_bundle(fresh, published, "fp32").same_model
    assert json.loads(content(published)[MANIFEST]) == json.loads(before[MANIFEST])
    assert content(published)[GOLDEN] == before[GOLDEN]
    flip(published / "model.mixed.onnx")
    publish_bundle(fresh, published, "fp32")
    assert open_bundle(published).default == "fp32"


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_kill_at_any_rename_leaves_a_bundle_to_go_on_with(
    retrained: Path, published: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    real, calls = publish.os.replace, []

    def killed(*arguments: Path) -> None:
        calls.append(arguments)
        if len(calls) == at:
            raise KeyboardInterrupt
        real(*arguments)

    (published / "notes.txt").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(publish.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            publish_bundle(retrained, published)
    publish_bundle(retrained, published)
    assert content(published) == content(retrained) | {"notes.txt": b"mine"}
    assert [path.name for path in published.parent.iterdir()] == ["bundle"]


def own_things(folder: Path) -> None:
    """What a user may leave in a bundle, of every kind."""
    (folder / ".gitignore").write_text("*.tmp")
    (folder / ".git" / "objects").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref")
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("model.fp32.onnx")
    (folder / "nowhere").symlink_to("absent")
    (folder / "onnx").mkdir(exist_ok=True)
    (folder / "onnx" / "notes.txt").write_text("mine")
    os.mkfifo(folder / "pipe")
    (folder / "script").write_text("#!/bin/sh")
    (folder / "script").chmod(0o700)


def names(folder: Path) -> dict[str, int]:
    paths = sorted(folder.rglob("*"))
    return {path.relative_to(folder).as_posix(): path.lstat().st_mode for path in paths}


def test_all_that_a_user_left_stays_whatever_its_kind(
    fresh: Path, retrained: Path, published: Path
) -> None:
    own_things(published)
    before = names(published)
    (published / ".model.fp32.onnx.77.140.tmp").write_text("left by a kill")
    flip(published / "model.fp32.onnx")
    assert publish_bundle(fresh, published).notes
    assert names(published) == before
    publish_bundle(retrained, published)
    own = {name: mode for name, mode in before.items() if name not in names(fresh)}
    own = {name: mode for name, mode in own.items() if not name.endswith(".onnx")}
    own.pop(golden.TARGETS_GOLDEN)
    assert {**own, **names(retrained), "onnx": before["onnx"]}.items() <= names(published).items()
    assert [path.name for path in published.parent.iterdir()] == ["bundle"]


def test_a_link_to_a_bundle_stays_and_what_it_leads_to_is_mended_every_time(
    fresh: Path, exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    link = tmp_path / "run" / "bundle"
    link.symlink_to("../elsewhere/mine")
    assert publish_bundle(fresh, link).notes == ()
    for _ in range(2):
        flip(tmp_path / "elsewhere" / "mine" / "model.fp32.onnx")
        assert "mended" in publish_bundle(fresh, link).notes[0]
        assert content(tmp_path / "elsewhere" / "mine") == content(fresh)
    assert link.is_symlink() and [path.name for path in link.parent.iterdir()] == ["bundle"]
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["mine"]


@pytest.mark.parametrize("kind", ["link", "file", "nowhere", "folder", "loop"])
@pytest.mark.parametrize("name", [".bundle.tmp", ".bundle.old"])
def test_leftovers_of_any_kind_do_no_harm(
    fresh: Path, published: Path, kind: str, name: str
) -> None:
    leftover = published.with_name(name)
    aside = published.with_name("aside")
    aside.mkdir()
    (aside / "file").write_text("mine")
    if kind == "folder":
        (leftover / "sub").mkdir(parents=True)
    elif kind == "file":
        leftover.write_text("left")
    else:
        leftover.symlink_to({"link": aside, "nowhere": "absent", "loop": leftover}[kind])
    before = content(published)
    flip(published / "model.fp32.onnx")
    publish_bundle(fresh, published)
    assert content(published) == before and (aside / "file").read_text() == "mine"
    assert {path.name for path in published.parent.iterdir()} == {"aside", "bundle"}


@pytest.mark.parametrize("kind", ["file", "loop", "link to a file"])
def test_what_is_no_folder_in_the_bundle_s_place_is_refused_and_stays(
    fresh: Path, tmp_path: Path, kind: str
) -> None:
    place = tmp_path / "bundle"
    (tmp_path / "file").write_text("mine")
    if kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to("bundle" if kind == "loop" else "file")
    before = names(tmp_path)
    with pytest.raises(StoreError, match="no folder stands"):
        publish_bundle(fresh, place)
    assert names(tmp_path) == before and (tmp_path / "file").read_text() == "mine"


def test_the_card_may_be_another_than_the_builds(fresh: Path, tmp_path: Path) -> None:
    published = tmp_path / "bundle"
    publish_bundle(fresh, published, card="# measured\n")
    assert (published / "README.md").read_text() == "# measured\n"
    open_bundle(published)
    again = publish_bundle(fresh, published, card="# measured\n")
    assert again.same_model and again.notes == ()
    other = publish_bundle(fresh, published, card="# measured again\n")
    assert other.notes == () and (published / "README.md").read_text() == "# measured again\n"

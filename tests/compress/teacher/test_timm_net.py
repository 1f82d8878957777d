"""Image-only teachers: real files of timm networks, their features and their classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("timm")
import timm
import torch
from safetensors.torch import load_file, save_file

from compress.engine.config import Settings, TeacherSettings
from compress.engine.errors import ConfigError, DownloadError
from compress.teacher.loading import embed_dim, fingerprint, load_teacher, missing
from compress.teacher.sources import TimmNet, has_text, locate
from compress.teacher.timm_net import TimmTeacher, label_set, require_timm

NET = "test_efficientnet"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(timm.create_model(NET).state_dict(), file)
    return file


def load(name: str) -> TimmTeacher:
    teacher = load_teacher(TeacherSettings(name=name), offline=True)
    assert isinstance(teacher, TimmTeacher)
    return teacher


def test_a_name_is_a_network_and_perhaps_a_file() -> None:
    assert locate("timm:resnet18") == TimmNet("resnet18")
    assert locate("timm:resnet18@/x/y.pth") == TimmNet("resnet18", Path("/x/y.pth"))
    assert has_text("ViT-L-14/openai") and not has_text("timm:resnet18")


def test_features_are_unit_rows_of_the_networks_pooled_features(weights: Path) -> None:
    teacher = load(f"timm:{NET}@{weights}")
    edge = teacher.spec.size
    images = np.random.default_rng(0).integers(0, 255, (3, edge, edge, 3), dtype=np.uint8)
    features = teacher.encode_images(images)
    from runtime import normalize

    model = timm.create_model(NET, num_classes=0).eval()
    state = {k: v for k, v in torch_file(weights).items() if not k.startswith("classifier.")}
    model.load_state_dict(state)
    with torch.no_grad():
        pooled = model(torch.from_numpy(normalize(images, teacher.spec)))
    expected = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert features.shape[1] == teacher.embed_dim
    assert embed_dim(TeacherSettings(name=teacher.name)) == teacher.embed_dim


def torch_file(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(file))


def test_its_images_are_prepared_as_the_network_was_trained(weights: Path) -> None:
    spec = load(f"timm:{NET}@{weights}").spec
    config = timm.create_model(NET).pretrained_cfg
    assert (spec.size, spec.mean, spec.std) == (
        config["input_size"][-1],
        config["mean"],
        config["std"],
    )


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "in a checkpoint"])
def test_a_pickle_is_read_with_weights_only(weights: Path, tmp_path: Path, wrapped: bool) -> None:
    state = torch_file(weights)
    file = tmp_path / "net.pth"
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, file)
    assert load(f"timm:{NET}@{file}").fingerprint() == load(f"timm:{NET}@{weights}").fingerprint()


class Bad:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle ran code",)


def test_a_pickle_of_code_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.pth"
    torch.save({"weight": Bad()}, file)
    with pytest.raises(ConfigError, match="holds no weights that can be read"):
        load(f"timm:{NET}@{file}")


def test_a_network_with_its_label_set_keeps_its_classifier(weights: Path) -> None:
    classifier = load(f"timm:{NET}@{weights}").classifier
    assert classifier is not None and classifier.subset == "imagenet-1k"
    np.testing.assert_array_equal(classifier.rows, torch_file(weights)["classifier.weight"])
    assert label_set(TimmNet(NET)) == "imagenet-1k"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("resnet18", True),
        ("resnetv2_50", True),  # a 1 x 1 convolution
        ("deit_tiny_distilled_patch16_224", False),  # two classifiers
        ("levit_128s", False),  # a norm before it
    ],
)
def test_names_come_with_one_row_for_each_class(name: str, known: bool) -> None:
    assert (label_set(TimmNet(name)) == "imagenet-1k") is known


def test_the_width_of_an_unknown_network_is_no_question() -> None:
    with pytest.raises(ConfigError, match="unknown timm network.*did you mean"):
        embed_dim(TeacherSettings(name="timm:tf_efficientnet_lite9"))


def test_a_file_without_or_with_another_classifier_is_a_teacher_without_names(
    weights: Path, tmp_path: Path
) -> None:
    state = torch_file(weights)
    bare = {k: v for k, v in state.items() if not k.startswith("classifier.")}
    save_file(bare, tmp_path / "bare.safetensors")
    seven = {k: v[:7].clone() if k.startswith("classifier.") else v for k, v in state.items()}
    save_file(seven, tmp_path / "seven.safetensors")
    for name in ("bare", "seven"):
        teacher = load(f"timm:{NET}@{tmp_path / name}.safetensors")
        assert teacher.classifier is None
        assert teacher.fingerprint() == load(f"timm:{NET}@{weights}").fingerprint()


def save(state: Mapping[str, torch.Tensor], file: Path) -> str:
    """Writes a file of a network's tensors; the teacher's name."""
    save_file(dict(state), file)
    return f"timm:{NET}@{file}"


def checked(name: str) -> None:
    """What a build does with a teacher before any work."""
    source = locate(name)
    assert isinstance(source, TimmNet)
    require_timm(source)


def refused(name: str) -> str:
    """The error of a file, the same before any work and when it is loaded."""
    with pytest.raises(ConfigError) as early:
        checked(name)
    with pytest.raises(ConfigError) as late:
        load(name)
    assert str(early.value) == str(late.value)
    return str(late.value)


def test_tensors_of_a_deeper_network_are_not_left_out(tmp_path: Path) -> None:
    file = tmp_path / "deep.safetensors"
    save_file(timm.create_model("resnet34").state_dict(), file)
    text = refused(f"timm:resnet18@{file}")
    assert "not the weights of resnet18 · got deep.safetensors: layer1.2." in text
    assert "which that network has not" in text and "--teacher timm:NAME@" in text


def test_weights_of_integers_are_refused(weights: Path, tmp_path: Path) -> None:
    state = {k: (10 * v).to(torch.int8) for k, v in torch_file(weights).items() if v.ndim}
    assert "is int8 · expected floating point" in refused(save(state, tmp_path / "w.safetensors"))


@pytest.mark.parametrize("before", ["module.", "model.", "_orig_mod.", "model._orig_mod."])
def test_what_a_trainer_puts_before_all_names_is_taken_away(
    weights: Path, tmp_path: Path, before: str
) -> None:
    state = {before + name: value for name, value in torch_file(weights).items()}
    name = save(state, tmp_path / "w.safetensors")
    checked(name)
    assert load(name).fingerprint() == load(f"timm:{NET}@{weights}").fingerprint()


def test_a_part_of_another_model_is_named(weights: Path, tmp_path: Path) -> None:
    state = {f"student.{name}": value for name, value in torch_file(weights).items()}
    text = refused(save(state, tmp_path / "w.safetensors"))
    assert "no blocks.0.0." in text and "but student.blocks.0.0." in text
    assert "save that part alone" in text


def test_a_headless_tag_takes_a_file_with_a_classifier(tmp_path: Path) -> None:
    name = "convnextv2_atto"
    file = tmp_path / "w.safetensors"
    save_file(timm.create_model(name).state_dict(), file)
    teacher = load(f"timm:{name}.fcmae@{file}")
    assert teacher.classifier is not None and teacher.classifier.subset == "imagenet-1k"
    assert teacher.fingerprint() == load(f"timm:{name}@{file}").fingerprint()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.pth", b"", "an empty file"),
        ("w.safetensors", b"<!DOCTYPE html>", "a web page"),
        ("w.pth", b"\n <html>", "a web page"),
        ("w.pth", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("w.pth", b"PK\x03\x04 cut", "cut short or damaged"),
        ("w.safetensors", b"PK\x03\x04 cut", "rename it to .pth"),
    ],
)
def test_files_that_are_no_weights_say_what_they_are(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    text = refused(f"timm:{NET}@{tmp_path / name}")
    assert words in text and "weights_only set to" not in text


def test_a_whole_module_and_a_wrong_suffix_are_told(weights: Path, tmp_path: Path) -> None:
    torch.save(timm.create_model(NET), tmp_path / "module.pth")
    text = refused(f"timm:{NET}@{tmp_path / 'module.pth'}")
    assert "a whole module, which can run code" in text and "state_dict()" in text
    (tmp_path / "st.pth").write_bytes(weights.read_bytes())
    assert "rename it to .safetensors" in refused(f"timm:{NET}@{tmp_path / 'st.pth'}")
    torch.save({"optimizer": {}, "epoch": 3}, tmp_path / "none.pth")
    assert "got dict of optimizer, epoch" in refused(f"timm:{NET}@{tmp_path / 'none.pth'}")
    with pytest.raises(ConfigError, match="read from this disk.*download the file"):
        load(f"timm:{NET}@https://example.org/w.safetensors")


def test_averaged_weights_of_a_checkpoint_come_first(weights: Path, tmp_path: Path) -> None:
    state = torch_file(weights)
    torch.save({"state_dict_ema": state, "state_dict": {}, "epoch": 1}, tmp_path / "w.pth")
    assert load(f"timm:{NET}@{tmp_path / 'w.pth'}").fingerprint()


def test_names_come_from_the_classifier_in_the_file(weights: Path, tmp_path: Path) -> None:
    state = torch_file(weights)
    assert label_set(TimmNet(NET, weights)) == "imagenet-1k"
    bare = {k: v for k, v in state.items() if not k.startswith("classifier.")}
    seven = {k: v[:7].clone() if k.startswith("classifier.") else v for k, v in state.items()}
    for content in (bare, seven):
        save(content, tmp_path / "w.safetensors")
        assert label_set(TimmNet(NET, tmp_path / "w.safetensors")) is None


def test_wrong_names_files_and_shapes_are_explained(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown timm network.*resnet18"):
        load("timm:resnet81")
    with pytest.raises(ConfigError, match="does not exist"):
        load(f"timm:{NET}@{tmp_path / 'none.safetensors'}")
    with pytest.raises(ConfigError, match="not the weights of resnet18"):
        load(f"timm:resnet18@{weights}")


def test_weights_that_are_not_here_say_where_to_put_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="timm:resnet18@FILE.safetensors"):
        load("timm:resnet18")
    text = missing(Settings(teacher=TeacherSettings(name="timm:resnet18")), online=False)
    assert text is not None and "timm:resnet18@FILE.safetensors" in text


def test_the_identity_is_the_content_of_a_file_and_the_name_of_others(weights: Path) -> None:
    one = TeacherSettings(name="timm:resnet18", others=(f"timm:{NET}@{weights}",))
    found = fingerprint(Settings(teacher=one))
    assert found["teacher"] == "timm:resnet18" and len(found["teacher 2"]) == 64


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_that_are_no_numbers_are_refused(
    tmp_path: Path, weights: Path, value: float, suffix: str
) -> None:
    state = dict(load_file(weights))
    name = next(name for name, tensor in state.items() if tensor.ndim == 4)
    state[name].view(-1)[-1] = value
    file = tmp_path / f"broken{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    with pytest.raises(
        ConfigError, match=f"broken{suffix} holds weights that are no numbers.*{name}"
    ):
        load(f"timm:{NET}@{file}")


def test_a_file_that_is_none_is_called_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="file is a folder.*timm:NAME@FILE"):
        load(f"timm:{NET}@{tmp_path}")
    with pytest.raises(ConfigError, match=f"is not named · got timm:{NET}@ · expected timm:NAME@"):
        load(f"timm:{NET}@")

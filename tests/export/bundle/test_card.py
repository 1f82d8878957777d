"""The model card is one that Hugging Face reads, and what it shows is what the bundle holds."""

from __future__ import annotations

import ast
import re

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from provenance import provenance

from compress.teacher.licenses import LICENSES
from export.bundle.card import HUB_LICENSES, front_matter, hub_name, model_card, teacher_card
from export.bundle.write import MODELS
from export.onnx.parity import Parity
from runtime.bundle import MANIFEST, TWINS


@pytest.fixture
def card() -> str:
    return model_card(provenance(), ["rose", "iris"], [])


def test_the_hub_reads_the_front_matter(card: str) -> None:
    data = ModelCard(card).data.to_dict()
    assert (
        data["license"] == "mit"
        and data["pipeline_tag"] == "image-classification"
        and data["library_name"] == "onnx"
    )
    assert data["base_model"] == "timm/vit_large_patch14_clip_224.openai"
    again = ModelCardData(**data)  # refuses what the hub's own types refuse
    assert again.to_dict() == data and isinstance(again.tags, list)


def test_every_license_of_the_teachers_has_a_name_on_the_hub() -> None:
    named = {name.lower() for name in LICENSES.values()}
    assert named | {"unknown", "apache-2.0"} <= set(HUB_LICENSES)
    mine = yaml.safe_load(front_matter("Apache-2.0", ["petals"], "x", ["a"]).strip("-\n"))
    assert mine["license"] == "apache-2.0" and "license_name" not in mine
    other = yaml.safe_load(
        front_matter("cc-of-my-own: yes", ["petals"], "image-classification", ["a"]).strip("-\n")
    )
    assert other["license"] == "other" and other["license_name"] == "cc-of-my-own: yes"


@pytest.mark.parametrize("teacher", ["petals", "folder/of/mine", "ViT-L-14/no-such-weights", ""])
def test_a_teacher_without_a_page_is_no_base_model(teacher: str) -> None:
    assert hub_name(teacher) is None
    assert (
        "base_model"
        not in ModelCard(model_card(provenance(teacher), ["a", "b"], [])).data.to_dict()
    )


def test_every_teacher_is_named_and_what_it_is() -> None:
    clip = provenance()
    clip["settings"]["teacher"]["others"] = ["ViT-B-32/laion2b_s34b_b79k", "timm:resnet18"]
    text = model_card(clip, ["a", "b"], [])
    assert "ViT-L-14/openai and ViT-B-32/laion2b_s34b_b79k and timm:resnet18 with" in text
    assert len(ModelCard(text).data.to_dict()["base_model"]) == 2
    images = model_card(provenance("timm:resnet18"), ["a", "b"], [])
    assert "distilled from timm:resnet18 (without texts) with" in images
    assert "clip" not in ModelCard(images).data.to_dict()["tags"]


def test_a_student_of_labels_is_not_called_distilled() -> None:
    labels = provenance("timm:resnet18")
    labels["stages"]["distill"]["facts"]["terms"] = {"ce": 1.0}
    text = model_card(labels, ["a", "b"], [])
    assert "trained on labels, measured beside timm:resnet18" in text
    assert "knowledge-distillation" not in ModelCard(text).data.to_dict()["tags"]


def test_what_the_teachers_license_asks_stands_in_the_card() -> None:
    bound = provenance("timm:resnet18")
    bound["stages"]["teacher"]["facts"]["license_notice"] = "no commercial use"
    assert "License of the teacher's weights.** no commercial use." in model_card(bound, ["a"], [])
    assert "License of the teacher" not in model_card(provenance(), ["a"], [])


def test_pictures_of_no_class_are_not_called_images_of_one() -> None:
    drawn = provenance()
    drawn["stages"]["generate"]["facts"] = {
        **{"strategy": "dead-leaves", "images": 128, "per_class": 64}
    }
    text = model_card(drawn, ["a", "b"], [])
    assert "128 drawn pictures of no class" in text and "per class, then" not in text
    assert "and 64 synthetic images per class" in model_card(provenance(), ["a", "b"], [])
    drawn["stages"]["generate"]["facts"] = {"strategy": "none", "per_class": 0, "images": 0}
    assert "and no synthetic image, then quantized" in model_card(drawn, ["a", "b"], [])


def teachers_card(name: str) -> str:
    about = {"name": name, "license": "MIT", "weights": "own", "image_params": 5_000_000}
    origin = {"teacher": about, "head": "zero-shot", "templates": ["a photo of a {}"]}
    parity = Parity("model.fp32.onnx", 4, 1e-4, 1e-5, 0, 1e-4, 1e-5, 9.0, 1e-3, 1.0, True)
    return teacher_card(origin, ["ant", "bee"], parity, "fp32")


def test_a_teachers_card_says_what_it_is() -> None:
    clip, net = teachers_card("ViT-L-14/openai"), teachers_card("timm:resnet18")
    assert "tower of a CLIP" in clip and "its texts, from 1 template" in clip
    assert "CLIP" not in net and "rows of its own classifier" in net and "template" not in net
    assert ModelCard(net).data.to_dict()["tags"] == ["teacher"]


def test_every_file_that_is_named_can_be_in_a_bundle(card: str) -> None:
    named = set(re.findall(r"`([\w./]+\.(?:onnx|json))`", card))
    assert named <= {*MODELS.values(), *TWINS.values(), MANIFEST, "provenance.json"}
    assert {"onnx/model.onnx", "onnx/model_quantized.onnx", "model.int8.trt.onnx"} <= named


def test_the_python_that_is_shown_is_python(card: str) -> None:
    shown = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(shown) == 2
    for code in shown:
        ast.parse(code)


@pytest.mark.parametrize(
    ("shots", "words"),
    [(1, "1 labeled image per"), (4, "4 labeled images per"), ("all", "every labeled")],
)
def test_the_card_states_the_number_of_shots(shots: int | str, words: str) -> None:
    assert words in model_card(provenance(shots=shots), ["a", "b"], [])


def test_many_classes_are_cut() -> None:
    assert "class 39, and 60 more." in model_card(
        provenance(), [f"class {index}" for index in range(100)], []
    )


def test_the_card_says_what_happens_with_images_of_no_class() -> None:
    assert "also for one that shows none of them. Sources" in model_card(provenance(), ["a"], [])
    told = {
        "rejection": {"keep": 0.95, "n": 1192, "set_on": "labeled images"},
        "temperature": {"models": {"fp32": 1.5, "int8": 1.25}},
    }
    text = model_card(provenance(), ["a"], [], told)
    assert "`Prediction.known` tells those" in text and "keep 95% of 1,192 labeled images" in text
    assert "temperature (fp32 1.5, int8 1.25)" in text

"""The bundle's README.md: a model card with Hugging Face front matter, from provenance alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from compress.generate.strategies.table import STRATEGIES
from compress.teacher.sources import has_text
from export.bundle.markdown import code, markdown_text
from export.onnx.parity import Parity

SHOWN_CLASSES = 40

# The hub's identifiers of licenses (huggingface.co/docs/hub/repositories-licenses); others have a
# name of their own there.
HUB_LICENSES = (
    *("mit", "apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0"),
    *("apple-amlr", "gemma", "unknown"),
)


def model_card(
    provenance: Mapping[str, Any],
    classes: Sequence[str],
    parity: Sequence[Parity],
    confidence: Mapping[str, Any] | None = None,
) -> str:
    """Markdown: what the model is, its origin, how to run it.

    ``compress.report.card`` adds what was measured. ``confidence`` is that part of the manifest.
    """
    settings = provenance["settings"]
    stages = provenance["stages"]
    data, teacher, student = (stages[name]["facts"] for name in ("data", "teacher", "distill"))
    dataset = data.get("name") or settings["data"]["dataset"] or "own images"
    more = len(classes) - SHOWN_CLASSES
    names = [markdown_text(each) for each in classes[:SHOWN_CLASSES]]
    shown = ", ".join(names) + (f", and {more} more" if more > 0 else "")
    license = teacher.get("license", "unknown")
    rows = "\n".join(
        f"| `{row.file}` | {row.agreement:.1%} | {row.max_abs_diff:.3g} of {row.logit_range:.3g} "
        f"| {row.noise_floor:.2g} |"
        for row in parity
    )
    teachers = [settings["teacher"]["name"], *settings["teacher"].get("others", ())]
    clip = any(map(has_text, teachers))
    taught = set(student.get("terms") or ("kd",)) != {"ce"}  # else labels alone did
    tags = [*(["clip"] if clip else []), *(["knowledge-distillation"] if taught else [])]
    tags += ["int8", "transformers.js"]
    head = front_matter(license, teachers, "image-classification", tags)
    shots = _shots(settings["data"]["shots"])
    size = settings["image"]["size"]
    student_name = markdown_text(settings["distill"]["student"])
    return f"""{head}
# {student_name} for {markdown_text(dataset)} ({len(classes)} classes)

A small classifier {"distilled from" if taught else "trained on labels, measured beside"} \
{" and ".join(map(markdown_text, teachers))} {"" if clip else "(without texts) "}with {shots}
{_generated(stages["generate"]["facts"])}, then quantized to int8
({stages["quantize"]["facts"]["mode"]}).
{student.get("params", 0):,} parameters, input {size} x {size}.{notice_of(teacher)}

Classes: {shown}.

## Use

```python
from runtime import Classifier

print(Classifier.load("path/to/this/folder").predict("photo.jpg"))
```

Hugging Face optimum (`file_name="model_quantized.onnx"` loads the int8 model):

```python
from optimum.onnxruntime import ORTModelForImageClassification
from transformers import AutoImageProcessor, pipeline

model = ORTModelForImageClassification.from_pretrained("path/to/this/folder")
processor = AutoImageProcessor.from_pretrained("path/to/this/folder")
print(pipeline("image-classification", model=model, image_processor=processor)("photo.jpg"))
```

transformers.js (`{{ dtype: 'q8' }}` as the third argument loads the int8 model):

```js
import {{ env, pipeline }} from '@huggingface/transformers';

env.allowRemoteModels = false;
const classify = await pipeline('image-classification', '/path/to/this/folder');
console.log(await classify('photo.jpg'));
```

## Which file an app needs

One model file is enough. Each `model.*.onnx` holds its labels and its preprocessing; sizes are in \
`manifest.json`.

| app | files |
|---|---|
| onnxruntime on a CPU | `model.int8.onnx`, or `model.fp32.onnx`: see "default" in `manifest.json` |
| TensorRT | `model.int8.trt.onnx` |
| anything else that reads ONNX | `model.fp32.onnx` |
| optimum, transformers.js | the `*config.json` and `onnx/model.onnx`, or \
`onnx/model_quantized.onnx` |

Every model has two outputs: `logits` (B, K), and `features` (B, D), what the class head reads, of
length 1. Ask an engine for the one that you need; `compress export BUNDLE --to int8.logits` writes
a file with logits alone.

The models in `onnx/` are those above with their input called `pixel_values` instead of `images`: \
leave the folder out where
Hugging Face's loaders are not used. `compress verify` repeats the golden vectors of every file on \
a device.

## Parity with the torch model

| file | same class | largest logit difference | noise floor |
|---|---|---|---|
{rows}

## Limits

The images it learned from are few or generated: measure it on images of the place where it will \
run. {_unknown(confidence or {})} Sources, seeds and settings: provenance.json.
"""


def _unknown(confidence: Mapping[str, Any]) -> str:
    """What it does with images of no class, and how sure it says to be."""
    rejection, temperature = (confidence.get(key) for key in ("rejection", "temperature"))
    text = "It names one of its classes for every image, also for one that shows none of them"
    if rejection:
        text += (
            f"; `Prediction.known` tells those. Its threshold was set to keep "
            f"{rejection['keep']:.0%} of {rejection['n']:,} {rejection['set_on']}; photos of "
            "similar things may pass it"
        )
    if temperature:
        told = ", ".join(f"{key} {value:g}" for key, value in temperature["models"].items())
        text += (
            f". Probabilities are the softmax of logits divided by a temperature ({told}), which "
            "`runtime` and the apps apply and other loaders do not"
        )
    return f"{text}."


def notice_of(teacher: Mapping[str, Any]) -> str:
    """What the license of a teacher's weights asks of who uses what was made with it."""
    text = teacher.get("license_notice")
    return f"\n\n**License of the teacher's weights.** {markdown_text(text)}." if text else ""


def front_matter(license: str, teachers: Sequence[str], task: str, tags: Sequence[str]) -> str:
    """Hugging Face's metadata block (huggingface.co/docs/hub/model-cards), with its closing line.

    ``base_model`` is left out where no teacher has a page there.
    """
    known = license.lower() in HUB_LICENSES
    values: dict[str, Any] = {"license": license.lower() if known else "other"}
    if values["license"] == "other":
        values["license_name"] = license
    bases = [base for base in map(hub_name, teachers) if base is not None]
    if bases:
        values["base_model"] = bases if len(bases) > 1 else bases[0]
    values |= {"pipeline_tag": task, "library_name": "onnx"}
    values["tags"] = list(tags)
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def hub_name(teacher: str) -> str | None:
    """The Hugging Face repository of an open_clip "model/tag"; None for other teachers."""
    from open_clip.pretrained import get_pretrained_cfg  # slow to import

    model, _, tag = teacher.partition("/")
    return str(get_pretrained_cfg(model, tag).get("hf_hub", "")).strip("/") or None


def _generated(facts: Mapping[str, Any]) -> str:
    """The synthetic images in words; some strategies draw pictures that show no class."""
    row = STRATEGIES.get(str(facts.get("strategy")))
    if not (facts.get("images") or facts.get("per_class")):
        return "and no synthetic image"
    if row is not None and not row.shows_classes:
        return f"and {facts['images']} drawn pictures of no class"
    return f"and {facts.get('per_class', 0)} synthetic images per class"


def _shots(shots: int | str) -> str:
    count = f"{shots} labeled image{'' if shots == 1 else 's'} per class"
    return "every labeled image" if shots == "all" else count


def teacher_card(
    provenance: Mapping[str, Any], classes: Sequence[str], parity: Parity, precision: str
) -> str:
    """Markdown for a teacher's bundle; random weights are stated first."""
    about = provenance["teacher"]
    license = about["license"]
    purpose = "This bundle is for latency, memory and size alone: its answers mean nothing."
    random = f"\n**The weights are random.** {purpose}\n"
    warning = random if about["weights"] == "random" else ""
    clip = has_text(about["name"])
    head = "the linear probe of a run"
    if provenance["head"] != "probe" and not clip:
        head = "the rows of its own classifier for these names"
    elif provenance["head"] != "probe":
        templates = provenance["templates"]
        head = f"its texts, from {len(templates)} template(s): {code(templates[0])} ..."
    names = [markdown_text(each) for each in classes[:SHOWN_CLASSES]]
    shown = ", ".join(names) + (", ..." if len(classes) > SHOWN_CLASSES else "")
    task = "zero-shot-image-classification" if clip else "image-classification"
    tags = ["clip", "teacher"] if clip else ["teacher"]
    tower = "image tower of a CLIP" if clip else "trunk of a network without texts"
    return f"""{front_matter(license, [about["name"]], task, tags)}
# {markdown_text(about["name"])} as a classifier of {len(classes)} classes
{warning}
The {tower} ({about["image_params"]:,} parameters) and a class head ({head}) in one
{precision} ONNX file: the teacher that students are compared with, measured by the same commands \
as they are.

Classes: {shown}.

The float32 file and its torch model name the same class on {parity.agreement:.1%} of \
{parity.images} images; logits differ by at
most {parity.max_abs_diff:.3g} of {parity.logit_range:.3g}.
"""

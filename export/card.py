"""The bundle's README.md: a model card with Hugging Face front matter, made from provenance alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from export.parity import Parity

SHOWN_CLASSES = 40


def model_card(provenance: Mapping[str, Any], classes: Sequence[str], parity: Sequence[Parity]) -> str:
    """Markdown: what the model is, where it came from, how to run it; accuracy stands in the run's report."""
    settings, stages = provenance["settings"], provenance["stages"]
    data, teacher, student = (stages[name]["facts"] for name in ("data", "teacher", "distill"))
    dataset = data.get("name") or settings["data"]["dataset"] or "own images"
    shown = ", ".join(classes[:SHOWN_CLASSES]) + (
        f", and {len(classes) - SHOWN_CLASSES} more" if len(classes) > SHOWN_CLASSES else ""
    )
    licence = teacher.get("license", "unknown")
    rows = "\n".join(
        f"| `{row.file}` | {row.agreement:.1%} | {row.max_abs_diff:.3g} of {row.logit_range:.3g} "
        f"| {row.noise_floor:.2g} |"
        for row in parity
    )
    return f"""---
license: {licence.lower() if licence != "unknown" else "other"}
base_model: {settings["teacher"]["name"]}
pipeline_tag: image-classification
library_name: onnx
metrics:
- accuracy
tags:
- clip
- knowledge-distillation
- int8
---

# {settings["distill"]["student"]} for {dataset} ({len(classes)} classes)

A small classifier distilled from {settings["teacher"]["name"]} with {_shots(settings["data"]["shots"])} and
{stages["generate"]["facts"].get("per_class", 0)} synthetic images per class, then quantized to int8
({stages["quantize"]["facts"]["mode"]}).
{student.get("params", 0):,} parameters, input {settings["image"]["size"]} x {settings["image"]["size"]}.

Classes: {shown}.

## Use

```python
from runtime import Classifier
print(Classifier.load("path/to/this/folder").predict("photo.jpg"))
```

`model.int8.onnx` is for onnxruntime on a CPU, `model.int8.trt.onnx` for TensorRT, `model.fp32.onnx` for anything else.
Each file holds its labels and its preprocessing. `compress verify` repeats the golden vectors on a device.

## Parity with the torch model

| file | same class | largest logit difference | noise floor |
|---|---|---|---|
{rows}

## Limits

The images it learned from are few or generated: measure it on images of the place where it will run. It always answers
with one of its classes, also for an image that shows none of them. Sources, seeds and settings: provenance.json.
"""


def _shots(shots: int | str) -> str:
    """How many labelled images of a class were used, in words."""
    return "every labelled image" if shots == "all" else f"{shots} labelled image{'' if shots == 1 else 's'} per class"

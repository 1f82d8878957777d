"""Labels a bundle's images as a user of Hugging Face optimum does: python optimum_labels.py BUNDLE
FILE_NAME IMAGE...

Prints one JSON object: versions, the file that was loaded, and per image its label and its logits.
    Nothing of clip2edge is
imported: this is somebody else's loader.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import optimum.version
import torch
import transformers
from optimum.onnxruntime import ORTModelForImageClassification
from PIL import Image
from transformers import AutoImageProcessor, pipeline

BATCH = 64


def main(bundle: str, file_name: str, *images: str) -> None:
    chosen = {} if file_name == "default" else {"file_name": file_name}
    model = ORTModelForImageClassification.from_pretrained(bundle, **chosen)
    processor = AutoImageProcessor.from_pretrained(bundle)
    classify = pipeline("image-classification", model=model, image_processor=processor, top_k=1)
    rows = {}
    for start in range(0, len(images), BATCH):
        names = images[start : start + BATCH]
        opened = [Image.open(name).convert("RGB") for name in names]
        logits = model(**processor(opened, return_tensors="pt")).logits
        for name, row in zip(names, torch.as_tensor(logits).tolist(), strict=True):
            rows[name] = {
                "label": model.config.id2label[max(range(len(row)), key=row.__getitem__)],
                "logits": row,
            }
    first = classify(images[0])[0]["label"]
    assert first == rows[images[0]]["label"], (first, rows[images[0]]["label"])
    print(
        json.dumps(
            {
                "versions": {
                    "optimum": optimum.version.__version__,
                    "transformers": transformers.__version__,
                },
                "file": Path(model.path if hasattr(model, "path") else "").name,
                "processor": type(processor).__name__,
                "images": rows,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

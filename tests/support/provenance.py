"""A provenance.json as the export stage writes it."""

from __future__ import annotations

from typing import Any


def provenance(
    teacher: str = "ViT-L-14/openai", license: str = "MIT", shots: int | str = 4
) -> dict[str, Any]:
    """Its settings, and the facts of its stages."""
    return {
        "settings": {
            "data": {"dataset": 'flowers: "wild" # 1', "shots": shots},
            "teacher": {"name": teacher},
            "distill": {"student": "mobilenetv4_conv_small"},
            "image": {"size": 224},
        },
        "stages": {
            "data": {"facts": {}},
            "teacher": {"facts": {"license": license}},
            "distill": {"facts": {"params": 3_000_000}},
            "generate": {"facts": {"per_class": 64}},
            "quantize": {"facts": {"mode": "qat"}},
        },
    }

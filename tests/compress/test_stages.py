"""The stage table: well formed, and complete in what can change a result."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from compress.engine.config import Settings, merge, resolve, setting_paths
from compress.engine.stage import identity, key_of
from compress.engine.stage import resolve as imported
from compress.stages import STAGES


def test_the_real_table_is_well_formed() -> None:
    seen: set[str] = set()
    for stage in STAGES:
        assert set(stage.needs) <= seen
        seen.add(stage.name)
        for reference in (stage.run, stage.external, stage.missing, stage.checks):
            assert reference is None or callable(imported(reference))
        assert identity(dataclasses.replace(stage, external=None, needs=()), Settings(), {})[
            "settings"
        ]


#: the first stage whose key must change with each section
FIRST = {
    "data": "data",
    "image": "data",
    "seed": "data",
    "teacher": "teacher",
    "generate": "generate",
    "label": "teacher",
    "distill": "distill",
    "quantize": "quantize",
    "export": "export",
    "bench": "bench",
}
VALUES = {
    "data.dataset": "cars",
    "data.path": None,
    "data.classes": None,
    "data.category": "x",
    "data.style": "night",
    "teacher.precision": "bf16",
    "teacher.heads": ["lp++"],
    "teacher.probe_anchor": "sum",
    "teacher.templates": ["a {}"],
    "generate.scheduler": "X",
    "generate.shares": {"sidclip": 2.0},
    "generate.guidance_interval": [0.2, 0.8],
    "generate.height": 64,
    "generate.dtype": "bf16",
    "generate.pair_mode": "fixed",
    "distill.init": "random",
    "distill.init_path": "x.safetensors",
    "distill.precision": "bf16",
    "distill.real_fraction": 0.25,
    "distill.alpha": 0.25,
    "distill.ema": 0.9,
    "quantize.mode": "ptq",
    "quantize.rounding": "nearest",
    "image.interpolation": "bilinear",
    "image.crop_pct": 0.5,
    "data.test_domains": ["all"],
    "generate.synth_ratio": 2.0,
    "generate.templates": ["{} b"],
    "generate.inversion.augment": "noise",
    "generate.inversion.betas": [0.5, 0.99],
    "generate.inversion.snapshot_target": "own",
    "generate.prompts.words": ["x"],
    "generate.prompts.mix_level": "token",
    "generate.prompts.contrastive": "promptstyler",
    "generate.probing.candidates": [{"steps": 3}],
    "label.pools": ["real"],
    "distill.head": "linear",
    "distill.train": "head",
    "distill.feature_loss": "mse_norm",
    "distill.center": "text",
    "distill.meta.mode": "exact",
    "distill.meta.inner_lr": 0.1,
    "distill.beta2_start": 0.96,
    "distill.logits": "standardized",
    "distill.batch_norm": "domain",
    "distill.label_share": None,
    "distill.optimizer": "sgd",
    "distill.feature_share": 0.5,
    "distill.gendd.pretrain_lr": 3e-3,
    "distill.epochs": 2.0,
    "bench.precision": "int8",
    "bench.unknown": "photos",
    "quantize.float_blocks": ["head"],
    "data.test_limit": 7,
    "label.real_views": 3,
    "label.teacher_view": "own",
    "label.weight": "teacher",
    "bench.threads": [2],
    "export.opset": 18,
    "data.test_fraction": 0.3,
    "data.class_folders": "leaf",
    "data.duplicates": "allow",
    "teacher.others": ["petals"],
}


def altered(path: str) -> Settings | None:
    """The default settings with one leaf changed, or None where one leaf alone cannot change."""
    *sections, leaf = path.split(".")
    plain = Settings().plain()
    node = plain
    for section in sections:
        node = node[section]
    old = node[leaf]
    changes = {bool: lambda: not old, int: lambda: old * 2 + 1, float: lambda: old / 2 or 0.5}
    new = VALUES.get(path, changes.get(type(old), lambda: f"{old}x")())
    if new is None:
        return None
    change: dict[str, Any] = {leaf: new}
    for section in reversed(sections):
        change = {section: change}
    return resolve(merge(plain, change))


#: where things lie and what is said about them; the content that is found there belongs to the
#: identity instead
ELSEWHERE = {"notes", "data.root", "data.path", "data.offline"}


#: a budget says what to search for and judges what was made: it changes no stage
#: (tests/compress/budgets/test_grammar.py)
@given(
    st.sampled_from(
        [p for p in setting_paths(Settings) if p not in ELSEWHERE and not p.startswith("budget.")]
    )
)
@settings(max_examples=200, deadline=None)
def test_settings_that_can_change_a_result_never_share_a_key(path: str) -> None:
    other = altered(path)
    if other is None:
        return
    rows = {row.name: dataclasses.replace(row, needs=(), external=None) for row in STAGES}
    row = rows[FIRST[path.partition(".")[0]]]
    assert key_of(identity(row, Settings(), {})) != key_of(identity(row, other, {}))

"""The record of the rejection benchmark: what is kept, what its page says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import rejection
from compress.bench.field import BROKEN, LEFT_OUT
from runtime.learning.calibration import Answers
from runtime.rejection import Rejection

K, D, N = 4, 8, 40
PROTOTYPES = np.eye(K, D, dtype=np.float32)
SCALES = {"max_logit": (5.0, 1.0), "energy": (5.0, 1.0), "prototype": (0.9, 0.05)}


def drawn(strength: float, count: int = N, seed: int = 0) -> Answers:
    """Answers whose largest logit and cosine are about this strong."""
    rng = np.random.default_rng(seed)
    rows = np.arange(count) % K
    logits = 6 * strength * np.eye(K)[rows] + rng.normal(0, 0.5, (count, K))
    features = strength * PROTOTYPES[rows] + (1 - strength) * rng.normal(0, 1, (count, D))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return Answers(logits.astype(np.float32), features.astype(np.float32))


@pytest.mark.parametrize("own", ["combined", "max_logit"])
def test_every_score_is_compared_and_the_own_one_is_judged_at_its_threshold(own: str) -> None:
    rule = Rejection(own, 0.0, 0.95, SCALES if own == "combined" else {}, PROTOTYPES)
    names = rejection.possible(rule)
    assert own in names and ("combined" in names) == (own == "combined")
    others = {"photos": drawn(0.1, 30, 1)}
    for name in names:
        table = rejection.compared(name, rule, drawn(0.95), np.arange(N) % K, others)
        assert set(table) == {"photos", LEFT_OUT}
        assert table["photos"]["auroc"] > 0.95 and table["photos"]["others"] == 30
        assert (table["photos"]["passed"] >= 0) == (name == own)


def cell(auroc: float) -> dict[str, Any]:
    row = {"wanted": 120, "others": 250, "auroc": auroc, "fpr95": 1 - auroc, "passed": 0.03}
    kinds = {BROKEN: row, "cifar10/test": row, LEFT_OUT: {**row, "auroc": 0.8}}
    both = {"energy": kinds, "combined": kinds}
    told = {"chosen": "combined", "kept": 0.95, "top1": 0.93, "top1_of_kept": 0.95}
    return {**told, "scores": both}


def test_a_run_adds_the_seeds_that_the_record_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def measured(self: rejection.RejectionCells, seed: int) -> dict[str, Any]:
        done.append(seed)
        return cell(0.99 if seed else 0.9)

    monkeypatch.setattr(rejection.RejectionCells, "cell", measured)
    out = tmp_path / "rejection.json"
    for seeds in ("1", "3"):
        arguments = ["--data", "flowers", "--unknown", "cifar10/test", "--seeds", seeds]
        where = ["--work", str(tmp_path), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["rejection", *arguments, *where])
        rejection.main()
    assert done == [0, 1, 2]
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "**FAILS**: AUROC >= 0.95 and FPR <= 20 % against cifar10/test (worst seed 0.900" in text
    assert "0.960 ± 0.052" in text and "of the test photos 95.0" in text
    assert f"against {LEFT_OUT}" not in text and f"| {LEFT_OUT} |" in text
    record = json.loads(out.read_text(encoding="utf-8"))
    assert set(record["folders"]["flowers, 8 shots"]["cells"]) == {"0", "1", "2"}
    assert str(tmp_path) not in text

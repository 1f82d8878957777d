"""What several ranks of torchrun cannot share is refused before any work."""

from __future__ import annotations

from typing import Any

import pytest

from compress.distill.checks import require_divisible
from compress.engine.config import resolve
from compress.engine.errors import ConfigError


@pytest.mark.parametrize(
    ("distill", "said"),
    [
        ({"batch": 33}, "got distill.batch=33 for 2 ranks .* --set distill.batch=32"),
        ({"batch": 2, "meta": {"mode": "exact"}}, "distill.meta.mode=exact"),
        ({"objective": "gendd", "gendd": {"mixup_beta": 1.0}}, "gendd.mixup_beta=1 for 2 ranks"),
        (
            {"objective": "gendd_unlabeled", "smooth": 0.0, "gendd": {"mixup_beta": 1.0}},
            "gendd.mixup_beta=1 for 2 ranks",
        ),
    ],
)
def test_what_ranks_cannot_share_is_refused(distill: dict[str, Any], said: str) -> None:
    settings = resolve({"distill": distill})
    require_divisible(settings, 1)
    with pytest.raises(ConfigError, match=said):
        require_divisible(settings, 2)


@pytest.mark.parametrize("batch", [2, 4, 128])
def test_a_batch_that_ranks_share_evenly_is_taken(batch: int) -> None:
    require_divisible(resolve({"distill": {"batch": batch, "objective": "gendd"}}), 2)

"""What several ranks of torchrun cannot share is refused before any work."""

from __future__ import annotations

from typing import Any

import pytest

from compress.distill.checks import require_divisible, require_mixes_pixels
from compress.engine.config import resolve
from compress.engine.errors import ConfigError


@pytest.mark.parametrize(
    ("distill", "said"),
    [
        ({"batch": 33}, "got distill.batch=33 for 2 ranks .* --set distill.batch=32"),
        ({"batch": 2, "meta": {"mode": "exact"}}, "distill.meta.mode=exact"),
        ({"mixup": 0.2}, "distill.mixup=0.2 for 2 ranks .* --set distill.mixup=0"),
        ({"batch_norm": "domain"}, "batch_norm=domain for 2 ranks .* distill.batch_norm=shared"),
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


@pytest.mark.parametrize(
    ("distill", "said"),
    [
        ({"train": "head"}, "a frozen trunk's features are computed once"),
        ({"meta": {"mode": "exact"}}, "a meta step parts images by style"),
    ],
)
def test_mixup_is_refused_where_no_pixels_of_a_plain_step_are(
    distill: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=f"{said}.* --set distill.mixup=0"):
        require_mixes_pixels(resolve({"distill": {**distill, "mixup": 0.2}}).distill)
    require_mixes_pixels(resolve({"distill": {"mixup": 0.2}}).distill)


@pytest.mark.parametrize("other", [{"freeze_batch_norm": True}, {"mixup": 0.2}])
def test_domains_are_parted_only_where_there_are_statistics_to_part(other: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"not with {next(iter(other))}"):
        resolve({"distill": {"batch_norm": "domain", **other}})

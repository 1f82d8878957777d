"""Builds in processes of their own: how they end, and what they leave."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from toy_builds import toy_shop

from benchmarks.abuse.builds import Ended, Workshop, compare, copy_work, differences
from benchmarks.abuse.cells import HANG, LOST, TRACEBACK


def ended(shop: Workshop, main: object, log: Path) -> Ended:
    return Workshop(**{**vars(shop), "main": main, "limit_s": 1.0}).run(["x"], log)


def fail() -> None:
    raise ValueError("a bug")


def refuse() -> None:
    print("no such thing")
    raise SystemExit(2)


@pytest.mark.parametrize(
    ("main", "code", "kinds"),
    [
        (lambda: None, 0, []),
        (refuse, 2, []),
        (fail, 1, [TRACEBACK]),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), -15, [TRACEBACK]),
        (lambda: time.sleep(60), -9, [HANG]),
    ],
    ids=["ends", "refuses", "raises", "crashes", "hangs"],
)
def test_how_a_process_ends(main: object, code: int, kinds: list[str], tmp_path: Path) -> None:
    made = ended(toy_shop(tmp_path), main, tmp_path / "log.txt")
    assert made.code == code
    assert [fault.kind for fault in made.faults("case")] == kinds


def test_an_undisturbed_build_is_made_once(tmp_path: Path) -> None:
    shop = toy_shop(tmp_path)
    first = shop.reference(shop.smoke)
    assert first == shop.reference(shop.smoke) and first.seconds > sum(first.child_seconds) > 0


def test_a_run_that_differs_is_seen(tmp_path: Path) -> None:
    shop = toy_shop(tmp_path)
    wanted = shop.finished(shop.smoke)
    assert not differences(wanted, wanted) and not compare(wanted, wanted, "case")
    copy = shop.smoke.folder(copy_work(shop.reference(shop.smoke).work, tmp_path / "copy"))
    (copy / "bundle" / "model.bin").write_bytes(b"other")
    (copy / "bundle" / "more").write_bytes(b"")
    (copy / "report.json").write_text('{"accuracy": 1}')
    assert differences(copy / "bundle", wanted / "bundle") == ["model.bin", "more"]
    assert [fault.kind for fault in compare(copy, wanted, "case")] == [LOST, LOST]

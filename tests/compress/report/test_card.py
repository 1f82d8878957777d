"""The model card's measured part: accuracy in the bundle, speed beside it."""

from __future__ import annotations

from pathlib import Path

from finished_runs import Finished
from report_runs import full

from compress.report.card import FILE, with_accuracy, with_speed, write_card
from compress.report.model import report as model
from compress.report.sections import headline
from compress.report.wording import percent
from export.bundle.files import CARD

CARD_TEXT = "---\nlicense: mit\n---\n\n# A\n\n## Limits\n\nOf a kind.\n"


def test_accuracy_stands_before_the_limits_and_claims_what_it_may(
    finished: Finished, run: Path
) -> None:
    plain = full(finished, run)
    report = model.parse(plain)
    text = with_accuracy(CARD_TEXT, report)
    assert text.startswith(CARD_TEXT.split("## Limits")[0].rstrip())
    assert text.index("## Accuracy") < text.index("## Limits") and text.endswith("Of a kind.\n")
    assert f"| student int8 | {percent(report.accuracy['student_int8'].top1)} |" in text
    assert headline.images_tested(report) in text and headline.stand_in(report) in text
    for clock in (" ms", "p50", report.environment.cpu or "a cpu"):
        assert clock not in text, "the same build gives the same card"
    without = model.parse({**plain, "accuracy": {}, "paired": {}, "changes": {}})
    assert "there were no test images" in with_accuracy(CARD_TEXT, without)


def test_speed_names_machine_threads_and_stamp(finished: Finished, run: Path) -> None:
    report = model.parse(full(finished, run))
    text = with_speed(CARD_TEXT, report)
    assert text.index("## Speed") < text.index("## Limits")
    for words in ("Raspberry Pi 5", "1 thread", " ms |", "THROTTLED"):
        assert words in text, words


def test_the_card_with_speed_is_written_beside_the_report(
    finished: Finished, run: Path, tmp_path: Path
) -> None:
    report = model.parse(full(finished, run))
    bundle = tmp_path / "bundle"
    write_card(tmp_path, bundle, report)
    assert not (tmp_path / FILE).exists()
    bundle.mkdir()
    (bundle / CARD).write_text(CARD_TEXT, encoding="utf-8")
    write_card(tmp_path, bundle, report)
    assert (tmp_path / FILE).read_text(encoding="utf-8") == with_speed(CARD_TEXT, report)
    assert (bundle / CARD).read_text(encoding="utf-8") == CARD_TEXT

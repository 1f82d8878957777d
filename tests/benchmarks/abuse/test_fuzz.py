"""Fuzzed files: a crash, a hang, too much memory and a wrong answer are seen; real readers hold."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_bundles import make_bundle

from benchmarks.abuse import fuzz
from benchmarks.abuse.cells import HANG, SILENT, TRACEBACK
from benchmarks.abuse.mutations import BYTES
from benchmarks.abuse.readers import KINDS, Kind, Readers, WrongAnswer
from runtime import ImageError

KIND = Kind("toy", 10, BYTES)
AT = 3  # the number of the file that does harm


class ToyReaders(Readers):
    """Readers of one kind, with a trap."""

    trap: Callable[[], object]
    answers = []  # type: ignore[assignment]

    def seeds(self, kind: str) -> dict[str, bytes]:
        return {"toy": b"a toy"}

    def read(self, kind: str, name: str, data: bytes) -> None:
        counter = self.scratch / "counter"
        number = int(counter.read_text()) if counter.exists() else 0
        counter.write_text(str(number + 1))
        if number == AT:
            self.trap()


def outcome(trap: Callable[[], object], folder: Path) -> fuzz.Outcome:
    readers = ToyReaders(folder, folder)
    readers.trap = trap
    return fuzz.supervise(fuzz.Worker(readers, KIND, folder / "found"), 0, 10, folder)


def refuse() -> None:
    raise ImageError("no")


def answer_wrongly() -> None:
    raise WrongAnswer("other")


@pytest.mark.parametrize(
    ("trap", "kind"),
    [
        (lambda: 1 / 0, TRACEBACK),
        (lambda: bytearray(2**33), TRACEBACK),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), TRACEBACK),
        (lambda: os._exit(0), TRACEBACK),
        (lambda: time.sleep(60), HANG),
        (answer_wrongly, SILENT),
    ],
    ids=["error", "memory", "crash", "exit", "hang", "wrong answer"],
)
def test_a_planted_fault_is_seen_and_kept_and_the_rest_is_read(
    trap: Callable[[], object], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "SILENCE_S", 1.0)
    made = outcome(trap, tmp_path)
    assert [fault.kind for fault in made.faults] == [kind]
    assert made.cases == 10 and made.facts == {"read": 9, "refused": 0}
    assert [path.name for path in (tmp_path / "found").iterdir()] == ["toy-3-toy"]


def test_what_is_refused_is_no_fault(tmp_path: Path) -> None:
    made = outcome(refuse, tmp_path)
    assert not made.faults and made.facts == {"read": 9, "refused": 1}


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Readers:
    run = tmp_path_factory.mktemp("run")
    make_bundle(run / "bundle", run)
    (run / "config.yaml").write_text("seed: 1\ndata: {dataset: petals, shots: 4}\n")
    (run / "report.json").write_text('{"schema": 1, "accuracy": {"teacher": {"top1": 0.5}}}')
    return Readers(run, tmp_path_factory.mktemp("scratch"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_file_is_made_from_its_number_alone(kind: Kind, readers: Readers) -> None:
    worker = fuzz.Worker(readers, kind, readers.scratch)
    made = [worker.case(number) for number in range(150)]
    assert made[:20] == [worker.case(number) for number in range(20)]
    assert len({data for _, data in made}) > 75


@pytest.mark.parametrize("kind", ["bundle", "golden", "image", "labels", "manifest", "preprocess"])
def test_the_readers_of_the_runtime_hold(kind: str, readers: Readers, tmp_path: Path) -> None:
    row = next(row for row in KINDS if row.name == kind)
    made = fuzz.supervise(fuzz.Worker(readers, row, tmp_path), 0, 20, tmp_path)
    assert made.cases == 20 and not made.faults, made.faults


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.name != "report"], ids=lambda kind: kind.name
)
def test_valid_files_are_read(kind: Kind, readers: Readers) -> None:
    for name, data in readers.seeds(kind.name).items():
        readers.read(kind.name, name, data)


def test_a_bundle_that_gives_another_answer_is_seen(readers: Readers) -> None:
    name = "labels.json"
    readers.read("bundle", name, readers.bundle[name])
    other = Readers(readers.run, readers.scratch)
    other.__dict__["answers"] = [answer + 1 for answer in readers.answers]
    with pytest.raises(WrongAnswer, match="other logits"):
        other.read("bundle", name, readers.bundle[name])


def test_full_scale_is_ten_thousand() -> None:
    assert sum(kind.cases for kind in KINDS) == 10_000

"""Ranks of torchrun: real processes, whose losses and bytes are compared."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command import cli
from torchrun import finish, run_script, start

from compress.engine import ranks
from compress.engine.errors import RankError

MEET = """
import torch
from compress.engine import ranks

def together():
    if ranks.follows():
        assert next(told)["n"] == 7
        return ranks.following()
    return ranks.leading({"n": 7})

ranks.connect("cpu")
told = ranks.orders()
"""

COLLECTIVES = (
    MEET
    + """
assert ranks.started() == 2 and ranks.count() == 1 and not ranks.facts()
with together():
    me = ranks.rank()
    assert ranks.count() == 2 and ranks.facts(x=1) == {"ranks": 2, "x": 1}
    assert me == int(ranks.follows())
    assert ranks.mean({"a": 1.0 + me, "b": 4.0}) == {"a": 1.5, "b": 4.0}
    assert ranks.total(torch.tensor([1.0, me])).tolist() == [2, 1]
    assert ranks.largest(torch.tensor([-1.0 * me, me])).tolist() == [0, 1]
    assert ranks.whole(torch.tensor([[0 + me], [2 + me]])).flatten().tolist() == [0, 1, 2, 3]
    def make():
        assert me == 0
        return {"x": torch.arange(6).reshape(2, 3), "flag": torch.tensor(True)}
    made = ranks.first(make)
    assert made["x"].tolist() == [[0, 1, 2], [3, 4, 5]] and bool(made["flag"])
    weights = [torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(3))]
    weights[0].grad = torch.full((2, 2), 1.0 + me)
    ranks.average_gradients(weights)
    assert weights[0].grad.eq(1.5).all() and weights[1].grad is None

    torch.manual_seed(5)
    alone = torch.rand(3 * 4 * 2, 2).view(3, 4, 2, 2)
    torch.manual_seed(5)
    ranks.part_randomness()
    with ranks.shared_randomness(alone):
        mine = ranks.rows_of(lambda n: torch.rand(n, 2), 3, 2, 2)
    assert torch.equal(mine, alone[:, me::2].reshape(-1, 2))
    own = ranks.gathered(torch.rand(8))
    assert not torch.equal(own[0], own[1]), "each rank draws its own numbers"
    ranks.part()
    assert me == 0, "a rank that follows has left"
assert ranks.count() == 1
if ranks.follows():
    assert list(told) == []
else:
    ranks.dismiss()
"""
)

OBJECTIVES = (
    MEET
    + """
import sys
from pathlib import Path
from tiny_models import stage_context
from compress.distill import stage as distill
from compress.distill.artifact import DistillArtifact
from compress.distill.objectives import OBJECTIVES
from compress.quantize import stage as quantize
from compress.quantize.artifact import QuantizeArtifact

torch.set_num_threads(1)
root = Path(sys.argv[0]).parent / str(int(ranks.follows()))
# Adam magnifies the last bits of small gradients: the rate rises from a low one
steps = {"steps": 20, "warmup": 1.0, "lr": 1e-4, "head_lr": 1e-4}
steps["gendd"] = {"token_dim": 8, "width": 16, "depth": 1}
smooth = {name: 0.9 * spec.labeled for name, spec in OBJECTIVES.items()}
cases = [{"objective": name, "smooth": smooth[name], **steps} for name in OBJECTIVES]
cases += [{"feature_steps": 10, **steps}, {"train": "head", **steps}]

def losses(name, **sections):
    ctx = stage_context(root, name, **sections)
    stage, artifact = distill, DistillArtifact
    if "quantize" in sections:
        stage, artifact = quantize, QuantizeArtifact
    facts = stage.run(ctx)
    assert facts.get("ranks", 1) == ranks.count()
    return [row["loss"] for row in artifact(ctx.folder).history()]

runs = [{"distill": case} for case in cases]
quantized = ("kd", "fd", "dist")
runs += [{"distill": {"objective": name}, "quantize": {"steps": 20}} for name in quantized]
for number, sections in enumerate(runs):
    alone = losses(f"{number}-alone", **sections)
    with together():
        both = losses(f"{number}-both", **sections)
        apart = max(abs(a - b) for a, b in zip(alone, both, strict=True))
        print(f"{apart:.1e} {alone[0]:.2f} {sections}", flush=True)
        assert len(alone) == 20 and apart < 1e-4 * max(1, alone[0]), (sections, apart)
"""
)


def test_outside_torchrun_there_is_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (ranks.started(), ranks.count(), ranks.rank(), ranks.follows()) == (1, 1, 0, False)
    assert ranks.facts(x=1) == {}
    ranks.connect("cpu")
    ranks.dismiss()
    rows = torch.arange(4)
    assert ranks.whole(rows) is rows
    with ranks.leading({}), ranks.shared_randomness(rows):
        assert ranks.rows_of(torch.arange, 2, 3, 4).tolist() == list(range(24))
    code = "import compress.engine.ranks, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ranks_that_nobody_answers_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(RankError, match="MASTER_ADDR expected, .* start it with torchrun"):
        ranks.connect("cpu")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setattr(ranks, "CONNECT_S", 0.3)
    with pytest.raises(RankError, match="WORLD_SIZE=2: nobody answers at 127.0.0.1:1: "):
        ranks.connect("cpu")
    assert capfd.readouterr() == ("", "")


def test_two_ranks_agree_on_numbers(tmp_path: Path) -> None:
    run_script(tmp_path, COLLECTIVES)


@pytest.mark.slow
def test_two_ranks_have_the_losses_of_one_with_every_objective(tmp_path: Path) -> None:
    run_script(tmp_path, OBJECTIVES)


SETTINGS = ["--dataset", "petals", "--shots", "2", "--preset", "smoke", "--quiet"]
#: batch statistics are synced too; the learning rate rises as in the first steps of a long training
#: (Adam magnifies last bits: at 1e-4 two ranks may be 4e-4 from one, at 5e-4 two threads are)
SETTINGS += ["--set", "distill.freeze_batch_norm=false", "--set", "distill.warmup=1.0"]
SETTINGS += ["--set", "distill.lr=3e-5", "--set", "distill.head_lr=3e-5"]
SETTINGS += ["--set", "distill.steps=20", "--set", "quantize.steps=8", "--until", "quantize"]
STAGES = ("distill", "quantize")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a build by one process."""
    work = tmp_path_factory.mktemp("ranks") / "alone"
    done = cli("build", *SETTINGS, work=work, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    return work


def untrained(alone: Path, work: Path) -> Path:
    """A copy that lacks the stages that train."""
    shutil.copytree(alone, work, symlinks=True)
    for stage in STAGES:
        shutil.rmtree(work / "store" / stage)
    return work


def build(work: Path, restarts: int = 0) -> subprocess.Popen[str]:
    arguments = ["-m", "compress", "build", *SETTINGS, "--work-dir", str(work)]
    return start(*arguments, restarts=restarts)


def files(work: Path) -> dict[str, bytes]:
    """What training left, without its times."""
    paths = [path for stage in STAGES for path in (work / "store" / stage).glob("*/*.*")]
    kept = [path for path in paths if path.name != "stage.json" and ".part" not in str(path)]
    return {str(path.relative_to(work)): path.read_bytes() for path in kept}


@pytest.fixture(scope="module")
def both(alone: Path) -> Path:
    """The same by two ranks, undisturbed."""
    work = untrained(alone, alone.parent / "both")
    code, said = finish(build(work))
    assert code == 0, said
    assert said.count("stopped after quantize") == 1, f"one rank prints: {said}"
    return work


@pytest.mark.slow
def test_two_ranks_have_the_losses_of_one(alone: Path, both: Path) -> None:
    rows = []
    for work in (alone, both):
        (history,) = (work / "store" / "distill").glob("*/history.json")
        rows.append([row["loss"] for row in json.loads(history.read_text(encoding="utf-8"))])
        (record,) = (work / "store" / "distill").glob("*/stage.json")
        facts = json.loads(record.read_text(encoding="utf-8"))["facts"]
        assert (facts.get("ranks"), facts.get("batch_norm")) == (
            (2, "synced") if work == both else (None, None)
        )
    assert len(rows[0]) == 20
    assert rows[0] == pytest.approx(rows[1], abs=1e-4)
    (one,), (other,) = ((work / "store" / "distill").glob("[0-9a-f]*") for work in (alone, both))
    assert one.name == other.name, "the identity is that of one rank"


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "stage"), [(1, "distill"), (0, "quantize")])
def test_a_rank_that_is_killed_changes_no_byte(
    alone: Path, both: Path, tmp_path: Path, rank: int, stage: str
) -> None:
    work = untrained(alone, tmp_path / "killed")
    process = build(work, restarts=1)
    end = time.monotonic() + 200
    while not list((work / "store").glob(f"{stage}/.*.part/partial/checkpoint.safetensors")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    os.kill(_process_of(rank, process.pid), signal.SIGKILL)
    code, said = finish(process)
    assert code == 0, said
    assert "exitcode: -9" in said, "torchrun has seen the kill"
    assert files(work) == files(both)


def _process_of(rank: int, parent: int) -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            mother = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if mother == parent and f"RANK={rank}".encode() in environment:
            return int(folder.name)
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_ends_all_with_one_line(alone: Path, tmp_path: Path) -> None:
    arguments = ["build", *SETTINGS, "--set", "distill.batch=33", "--work-dir", str(tmp_path)]
    code, said = finish(start("-m", "compress", *arguments))
    assert code != 0 and said.count("ConfigError: ") == 1, said
    assert "a multiple of 2 · --set distill.batch=32" in said

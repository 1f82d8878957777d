"""The ranks of torchrun: processes that train a student together.

    torchrun --nproc-per-node 2 -m compress build ...

Rank 0 is the driver: it does all that a build does, and tells the others when it trains. They wait
at torchrun's store until then, build the same student from the same finished stages, train on their
own rows of every batch, and go back to waiting. They hold no lease, write no file and print
nothing. Outside torchrun there is one rank, and nothing of ``torch.distributed`` is touched.

Torch elastic ends and restarts all ranks if one dies; they go on from rank 0's last checkpoint.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from compress.engine.errors import RankError
from compress.engine.text import shortened
from runtime.files.strict_json import to_text

if TYPE_CHECKING:
    from torch import Tensor, nn

CONNECT_S = 60.0  # until rank 0 has to answer
LOOK_S = 0.1  # between two looks at the store; the ranks wait for hours while images are made
#: of one collective: torchrun ends the ranks when one dies, and a slow one must not look dead
PATIENCE = timedelta(days=1)
Order = dict[str, Any]  # JSON values: what rank 0 tells the others to train


@dataclass
class _Link:
    """The connection to torchrun's store."""

    store: Any  # torch.distributed.Store
    rank: int
    ranks: int
    device: str
    orders: int = 0  # so far


@dataclass
class _Group:
    """The ranks while they train."""

    rank: int
    ranks: int
    seed: int = 0  # of the step, the same on all ranks


class Parted(BaseException):
    """The part of this rank in a stage is done: what is left is rank 0's."""


_link: _Link | None = None
_group: _Group | None = None


def started() -> int:
    """How many ranks torchrun has started; 1 without it."""
    text = os.environ.get("WORLD_SIZE", "")
    return max(1, int(text)) if text.isdecimal() else 1


def follows() -> bool:
    """Whether this process trains along with another one that does the rest."""
    return started() > 1 and os.environ.get("RANK") != "0"


def count() -> int:
    """How many ranks train together here and now; 1 anywhere else."""
    return _group.ranks if _group else 1


def rank() -> int:
    """Which of the ranks that train together this is."""
    return _group.rank if _group else 0


def facts(**more: Any) -> dict[str, Any]:
    """What a stage says about ranks; nothing for one, whose bytes are as without torchrun."""
    return {"ranks": count(), **more} if count() > 1 else {}


def connect(device: str) -> None:
    """Meets the other ranks at torchrun's store; does nothing without any.

    Args:
        device: that they train on; each rank on its own GPU, see `take_gpu`.

    Raises: RankError: they cannot be reached.
    """
    global _link
    if started() == 1 or _link:
        return
    import torch.distributed as dist

    try:
        _require_answer()
        patience = timedelta(seconds=CONNECT_S)
        store, number, ranks = next(iter(dist.rendezvous("env://", timeout=patience)))
    except (ValueError, RuntimeError, OSError) as error:
        raise RankError(
            "the ranks of torchrun do not reach each other",
            got=f"WORLD_SIZE={started()}: {_first_line(error)}",
            expected="torchrun --nproc-per-node N -m compress build ...",
            remedy="start it with torchrun, or unset WORLD_SIZE for one process",
        ) from error
    take_gpu(device)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    _link = _Link(dist.PrefixStore(f"compress/{attempt}", store), number, ranks, device)


def take_gpu(device: str) -> None:
    """From now on "cuda" is the GPU of this process's ``LOCAL_RANK``, if torchrun gave it one."""
    if device == "cuda" and started() > 1:
        import torch

        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def _require_answer() -> None:
    """OSError if nobody listens at the store's address: torch would print pages about that."""
    is_host = os.environ.get("RANK") == "0" and "TORCHELASTIC_RUN_ID" not in os.environ
    port = os.environ.get("MASTER_PORT", "")
    if is_host or not port.isdecimal() or "MASTER_ADDR" not in os.environ:
        return  # this process listens there itself, or torch names the variable that is missing
    address = (os.environ["MASTER_ADDR"], int(port))
    end = time.monotonic() + CONNECT_S
    while True:
        try:
            socket.create_connection(address, timeout=CONNECT_S).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                place = ":".join(map(str, address))
                raise OSError(f"nobody answers at {place}: {error}") from error
            time.sleep(LOOK_S)


@contextmanager
def leading(order: Order) -> Iterator[None]:
    """Rank 0 trains in the body, and the others after this ``order``."""
    if _link is None:
        yield
        return
    _tell({"order": order})
    with _together(_link):
        yield
        _link.store.set(f"done{_link.orders}", "")


def dismiss() -> None:
    """Tells the other ranks that the build is finished, and waits until they know."""
    if _link is None:
        return
    _tell({"order": None})
    _await([f"heard{_link.orders}.{other}" for other in range(1, _link.ranks)])


def orders() -> Iterator[Order]:
    """What rank 0 tells this one to train, until the build is finished."""
    assert _link is not None  # `connect` comes first
    while True:
        _link.orders += 1
        _await([f"order{_link.orders}"])
        order = json.loads(_link.store.get(f"order{_link.orders}"))["order"]
        if order is None:
            _link.store.set(f"heard{_link.orders}.{_link.rank}", "")
            return
        yield order


@contextmanager
def following() -> Iterator[None]:
    """This rank trains in the body, up to `part`; then it waits for rank 0."""
    assert _link is not None
    with _together(_link):
        with suppress(Parted):
            yield
        _await([f"done{_link.orders}"])


def part() -> None:
    """Ends the part of a rank that follows: what comes after training is rank 0's."""
    if rank():
        raise Parted


def _tell(order: Order) -> None:
    assert _link is not None
    _link.orders += 1
    with _explained():
        _link.store.set(f"order{_link.orders}", to_text(order))


def _await(keys: list[str]) -> None:
    """Waits for keys in the store, however long it takes; a signal is heard meanwhile."""
    assert _link is not None
    with _explained():
        while not _link.store.check(keys):
            time.sleep(LOOK_S)


@contextmanager
def _together(link: _Link) -> Iterator[None]:
    """The collectives of torch between the ranks; a group of its own for each stage."""
    global _group
    import torch.distributed as dist

    with _explained():
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if link.device.startswith("cuda") else "gloo",
            store=dist.PrefixStore(f"group{link.orders}", link.store),
            rank=link.rank,
            world_size=link.ranks,
            timeout=PATIENCE,
        )
    _group = _Group(link.rank, link.ranks)
    try:
        yield
        dist.destroy_process_group()  # not after an error: it could wait for a rank that is gone
    finally:
        _group = None


@contextmanager
def _explained() -> Iterator[None]:
    """A collective that fails because another rank is gone is one line."""
    try:
        yield
    except RuntimeError as error:
        raise RankError(
            "another rank of torchrun has ended, or cannot be reached",
            got=_first_line(error),
            remedy="its own message says why; torchrun --max-restarts 3 starts all ranks again, "
            "and training goes on from the last checkpoint",
        ) from error


def _first_line(error: Exception) -> str:
    return shortened((str(error).strip().splitlines() or [type(error).__name__])[0], 200)


def first(make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What ``make`` gives on rank 0, on all ranks: tensors of the CPU, by name."""
    if count() == 1:
        return dict(make())
    import torch
    import torch.distributed as dist
    from safetensors.torch import load, save

    size = torch.zeros(1, dtype=torch.int64)
    data = torch.zeros(0, dtype=torch.uint8)
    if rank() == 0:
        # clones: safetensors refuses tensors that share memory
        made = {name: one.detach().cpu().clone().contiguous() for name, one in make().items()}
        data = torch.frombuffer(bytearray(save(made)), dtype=torch.uint8)
        size[0] = len(data)
    with _explained():
        dist.broadcast(size, 0)
        data = data if rank() == 0 else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(data, 0)
    return made if rank() == 0 else dict(load(data.numpy().tobytes()))


def mean(numbers: dict[str, float]) -> dict[str, float]:
    """The mean over the ranks of each of the numbers, which all ranks have under these names."""
    if count() == 1:
        return numbers
    import torch

    values = torch.tensor(list(numbers.values()), dtype=torch.float64)
    return dict(zip(numbers, (total(values) / count()).tolist(), strict=True))


def total(values: Tensor) -> Tensor:
    """The sum over the ranks, in place."""
    import torch.distributed as dist

    with _explained():
        dist.all_reduce(values)
    return values


def largest(values: Tensor) -> Tensor:
    """The largest over the ranks of each value, in place."""
    import torch.distributed as dist

    with _explained():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


def gathered(values: Tensor) -> Tensor:
    """The tensors of all ranks, of one shape, in the order of the ranks: ``(ranks, ...)``."""
    import torch
    import torch.distributed as dist

    parts = [torch.empty_like(values) for _ in range(count())]
    with _explained():
        dist.all_gather(parts, values)
    return torch.stack(parts)


def whole(rows: Tensor) -> Tensor:
    """The rows of the whole batch, ``(B, ...)``, of those of each rank, ``(B / ranks, ...)``."""
    return rows if count() == 1 else gathered(rows).transpose(0, 1).flatten(0, 1)


def trained_whole(rows: Tensor) -> Tensor:
    """As ``whole``, for a loss that is no mean over rows: every rank computes that of the batch.

    Gradients reach this rank's rows, times the number of ranks, whose mean is taken afterwards.
    """
    if count() == 1:
        return rows
    every = gathered(rows.detach())
    every[rank()] = count() * rows - (count() - 1) * rows.detach()
    return every.transpose(0, 1).flatten(0, 1)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Puts the mean over the ranks in the place of every gradient; one all-reduce for all.

    Every rank has as many rows, so this is the gradient of the whole batch's mean loss.
    """
    # Not DistributedDataParallel: losses run parameters beside the network's forward (projectors,
    # a denoiser), which it does not see, and it renames what checkpoints and groups name. What it
    # gains, sending while the backward pass runs, is little here: a student of 5 million weights
    # is one message of 20 MB.
    if count() == 1:
        return
    import torch

    gradients = [one.grad for one in parameters if one.grad is not None]
    flat = total(torch.cat([one.reshape(-1) for one in gradients])) / count()
    for gradient, piece in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(piece.view_as(gradient))


def part_randomness() -> None:
    """Gives each rank random numbers of its own, once torch's generator is seeded for a step.

    What is drawn for a rank's rows (dropout, paths that are left out) must not be the same on all.
    """
    if _group is None:
        return
    import torch

    from compress.engine.seeds import derive

    _group.seed = torch.initial_seed()
    if _group.rank:
        torch.manual_seed(derive(_group.seed, "rank", _group.rank))


@contextmanager
def shared_randomness(like: Tensor) -> Iterator[None]:
    """In the body all ranks draw the same numbers, those that one rank would draw; see `rows_of`.

    Args:
        like: a tensor on the device that draws.
    """
    if _group is None:
        yield
        return
    import torch

    with torch.random.fork_rng([like.device] if like.device.type == "cuda" else []):
        torch.manual_seed(_group.seed)
        yield


def rows_of(draw: Callable[[int], Tensor], before: int, rows: int, after: int) -> Tensor:
    """What ``draw(n)`` gives for this rank's rows, drawn for the whole batch.

    Args:
        before, rows, after: the n drawn lie as ``(before, rows of the batch, after)``; ``rows`` is
            the number of this rank's.
    """
    whole = draw(before * rows * count() * after)
    if count() == 1:
        return whole
    inner = whole.shape[1:]
    mine = whole.view(before, rows * count(), after, *inner)[:, rank() :: count()]
    return mine.reshape(-1, *inner)

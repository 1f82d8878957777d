"""Spans on the workers of a Ray cluster: tasks of Ray core, any of which may be lost."""

from __future__ import annotations

import os
import signal
import socket
import traceback
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from compress.engine.config import HostSettings
from compress.engine.errors import ConfigError, MissingExtraError, SpanError
from compress.engine.executors.attempts import Attempts, line_of
from compress.engine.executors.work import Advance, Made, Note, SpanWork
from compress.engine.executors.worker import Refused, serve
from compress.engine.threads import VARIABLE, jobs_of, threads_each
from runtime.host.telemetry import usable_cores

CONNECT_S = 10.0  # until a head node counts as absent
LOOK_S = 5.0  # between two looks at the machines
RETRIES = 2  # Ray's own, of a task whose worker or machine is lost
STOPS = (signal.SIGINT, signal.SIGTERM)  # Ray sets handlers of its own; ours say how to go on
AHEAD = 2  # tasks in flight for each that can run


@dataclass(frozen=True)
class OnRay:
    """One task a span; its workers keep their models, see ``worker.py``."""

    host: HostSettings

    def map(
        self, work: SpanWork, spans: Sequence[range], advance: Advance, note: Note
    ) -> Iterator[Made]:
        """Makes the spans on the cluster, a bounded number in flight."""
        ray = connect(self.host)
        attempts = Attempts(work, note)
        machines = Machines(ray, note)
        cpus, gpus = self.host.task_cpus, self.host.task_gpus
        # max_calls=0: the worker stays, and its models
        task = ray.remote(max_retries=RETRIES, max_calls=0, num_cpus=cpus, num_gpus=gpus)(serve)
        sent, ticket = ray.put(work.for_worker()), uuid.uuid4().hex
        waiting = deque(spans)
        running: dict[Any, range] = {}
        try:
            while waiting or running:
                while waiting and len(running) < machines.slots(cpus, gpus) * AHEAD:
                    span = waiting.popleft()
                    call = task.remote(sent, ticket, span.start, span.stop, threads_each(self.host))
                    running[call] = span
                finished, _ = ray.wait(list(running), timeout=LOOK_S)
                machines.look()
                for call in finished:
                    span = running.pop(call)
                    try:
                        made = ray.get(call)
                    except ray.exceptions.LocalRayletDiedError as error:
                        raise SpanError(
                            "this machine's part of the Ray cluster has ended",
                            got=line_of(error),
                            remedy="start it again (ray start), then repeat the command: the "
                            "spans that are finished stay",
                        ) from error
                    except Exception as error:
                        trace = "".join(traceback.format_exception(error))
                        attempts.failed(span, line_of(error), trace)
                        waiting.append(span)
                        continue
                    if isinstance(made, Refused):
                        raise made.error
                    advance(work.units(span), 0.0)
                    yield made
        finally:
            with suppress(Exception):  # of a cluster that is gone
                for call in running:
                    ray.cancel(call, force=True)


def connect(host: HostSettings) -> Any:
    """Ray, connected to ``host.address`` or started here; a connection that stands is used.

    Raises:
        MissingExtraError: it is not installed.
        ConfigError: nothing answers at the address.
    """
    ray = require_ray()
    if ray.is_initialized():
        return ray
    # Libraries below torch choose their kernels by the variable at their start: as in the driver,
    # or last bits differ on some processors. Ray would say 1; a task holds torch to its own share.
    same = {"env_vars": {VARIABLE: os.environ.get(VARIABLE) or str(usable_cores())}}
    quiet = {"log_to_driver": False, "logging_level": "error", "runtime_env": same}
    handlers = {number: signal.getsignal(number) for number in STOPS}
    try:
        if host.address is None:
            ray.init(include_dashboard=False, num_cpus=jobs_of(host), **quiet)
        else:
            _require_open(host.address)
            ray.init(address=host.address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            "no Ray cluster answers",
            got=f"--address {host.address}: {line_of(error)}",
            remedy="start one (ray start --head), or leave --address away to use this machine",
        ) from error
    finally:
        with suppress(ValueError):  # not the main thread, where Ray sets none either
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return ray


def _require_open(address: str) -> None:
    """OSError if no one listens at ``host:port``: Ray itself would try for minutes."""
    place, _, port = address.removeprefix("ray://").rpartition(":")
    if place and port.isdecimal():
        socket.create_connection((place.strip("[]"), int(port)), CONNECT_S).close()


def require(host: HostSettings) -> None:
    """Raises what `connect` would, before any work; starts nothing on this machine."""
    require_ray()
    if host.address is not None:
        connect(host)


def require_ray() -> Any:
    """The module; MissingExtraError without it."""
    try:
        import ray
    except ImportError as error:
        remedy = "pip install 'clip2edge[cluster]'"
        raise MissingExtraError("--engine ray needs Ray", remedy=remedy) from error
    return ray


@dataclass
class Machines:
    """The machines of the cluster: how much fits on them, and which were lost."""

    ray: Any
    note: Note
    alive: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.alive = frozenset(self._now())

    def look(self) -> None:
        """Notes machines that came or went since the last look."""
        now = self._now()
        for node in sorted(self.alive - now.keys()):
            self.note(f"a machine of the cluster was lost ({node[:12]}): its spans are made again")
        for node in sorted(now.keys() - self.alive):
            self.note(f"a machine joined the cluster: {now[node]}")
        self.alive = frozenset(now)

    def slots(self, cpus: float, gpus: float) -> int:
        """Tasks that can run at once; at least one, so that a full cluster is waited for."""
        whole = self.ray.cluster_resources()
        fits = [
            whole.get(kind, 0) / share for kind, share in (("CPU", cpus), ("GPU", gpus)) if share
        ]
        return max(1, int(min(fits, default=1)))

    def _now(self) -> dict[str, str]:
        return {
            node["NodeID"]: node.get("NodeManagerHostname", "?")
            for node in self.ray.nodes()
            if node["Alive"]
        }

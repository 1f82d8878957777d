"""Executors by name. To add one: a file with the class and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compress.engine.config import HostSettings
from compress.engine.errors import lookup
from compress.engine.executors.work import Executor
from compress.engine.stage import resolve


@dataclass(frozen=True)
class ExecutorRow:
    """One way to make spans.

    Attributes:
        executor: ``"module:Class"``, imported when spans are made.
        says: one line for people.
        requires: ``"module:function"`` that raises, of the host's settings, what is missing.
    """

    executor: str
    says: str
    requires: str | None = None


ROOM = "compress.engine.executors"
EXECUTORS = {
    "local": ExecutorRow(f"{ROOM}.local:Local", "this process"),
    "processes": ExecutorRow(f"{ROOM}.processes:Processes", "processes of this machine"),
    "ray": ExecutorRow(
        f"{ROOM}.on_ray:OnRay", "workers of a Ray cluster", f"{ROOM}.on_ray:require"
    ),
}


def executor_row(name: str) -> ExecutorRow:
    """The row of an executor; ConfigError, with the nearest name, for another one."""
    return lookup(EXECUTORS, name, "unknown --engine")


def require_executor(host: HostSettings) -> None:
    """Raises what stands in the way of the executor that was asked for."""
    requires = executor_row(host.engine).requires
    if requires:
        resolve(requires)(host)


def executor_for(host: HostSettings) -> Executor:
    """The executor that was asked for."""
    make: Callable[[HostSettings], Executor] = resolve(executor_row(host.engine).executor)
    return make(host)

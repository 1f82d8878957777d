"""How a run is made on this host: nothing here changes a result."""

from __future__ import annotations

from typing import Any

from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from compress.engine.config.section import CountOrZero, NonNegative, Section, Some, Threads
from compress.engine.errors import ConfigError


class HostSettings(Section):
    """How to run, which changes no result: part of no identity."""

    workers: Threads = 2  # threads that read and render images
    device: str = "cpu"  # of torch, e.g. "cuda"
    cache_mb: CountOrZero = 8192  # of the work folder's disk, for rendered views
    # who makes images and labels: a row of compress/engine/executors/table.py
    engine: str = "local"
    address: str | None = None  # of a Ray cluster; None: one on this machine
    jobs: Some | None = None  # processes, or Ray's cores on this machine; None: one for each core
    task_cpus: NonNegative = 1.0  # of each task on Ray
    task_gpus: NonNegative = 0.0  # a fraction shares a GPU
    mixed_fleet: bool = False  # accept parts from machines that compute differently

    @model_validator(mode="wrap")
    @classmethod
    def _said_plainly(cls, values: Any, read: ModelWrapValidatorHandler[HostSettings]) -> Any:
        """ConfigError that names the option: these come from a command line, not from a file."""
        try:
            return read(values)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            option = "--" + ".".join(map(str, wrong["loc"])).replace("_", "-")
            expected = wrong["msg"].removeprefix("Input should be ")
            got = repr(wrong["input"])[:120]
            raise ConfigError(f"{option} is wrong", got=got, expected=expected) from error

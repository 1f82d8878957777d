"""How many threads torch computes with, which can change the last bits of what is trained.

torch starts one for each processor it sees, and heeds no container's quota: half a processor with
two threads is slower than with one.
"""

from __future__ import annotations

import os
import sys

from compress.engine.config import HostSettings
from runtime.host.telemetry import usable_cores

VARIABLE = "OMP_NUM_THREADS"


def limit_threads() -> int:
    """Holds torch to the cores that this process may use, and returns the number of its threads.

    A number in ``OMP_NUM_THREADS`` counts as it is.
    """
    given = os.environ.get(VARIABLE, "").split(",")[0]
    if given.isdecimal() and int(given) > 0:
        return int(given)
    usable = usable_cores()
    torch = sys.modules.get("torch")
    if torch is None:
        os.environ[VARIABLE] = str(usable)
    elif torch.get_num_threads() > usable:
        torch.set_num_threads(usable)
    return usable if torch is None else int(torch.get_num_threads())


def hold_threads(threads: int) -> None:
    """Holds torch to so many threads in this process, whether or not it is imported yet."""
    os.environ[VARIABLE] = str(threads)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def threads_each(host: HostSettings) -> int:
    """Threads of each process that makes spans: the processes of a machine share its cores."""
    if host.engine == "ray":
        return max(1, int(host.task_cpus))
    return max(1, usable_cores() // (jobs_of(host) if host.engine == "processes" else 1))


def jobs_of(host: HostSettings) -> int:
    """Processes that make spans side by side on this machine."""
    return host.jobs or usable_cores()

"""Libraries that warn about each other, of which a user can do nothing."""

from __future__ import annotations

import logging

LOGGERS = ("torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer")


def hush_libraries() -> None:
    """Errors still come through; for a process of our own, e.g. a command or a worker."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)

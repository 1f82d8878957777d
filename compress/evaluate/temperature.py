"""One number that makes confidences honest: softmax(z / T) of logits z. It changes no answer.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.evaluate.metrics import Floats, Ints

LOWEST, HIGHEST = 0.05, 20.0
DIGITS = 4  # of a temperature: last bits of logits differ between processors


def fit_temperature(logits: Floats, targets: Floats) -> float:
    """The T in 0.05..20 of the least cross entropy of ``softmax(logits / T)`` with the targets.

    Args:
        logits: (N, K), finite.
        targets: probabilities (N, K): those of ``smoothed``, or another model's answers.

    Raises: ValueError: no image, or shapes that differ.
    """
    from scipy.optimize import minimize_scalar

    if logits.shape != targets.shape or logits.ndim != 2 or not len(logits):
        raise ValueError(f"logits and targets must be (N, K), got {logits.shape}, {targets.shape}")
    z = logits.astype(np.float64)
    wanted = targets.astype(np.float64)
    found = minimize_scalar(
        lambda log_t: cross_entropy(z / math.exp(log_t), wanted),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(f"{math.exp(found.x):.{DIGITS}g}")


def cross_entropy(logits: Floats, targets: Floats) -> float:
    """Mean of ``-Σ_k targets_k log softmax(logits)_k`` in nats."""
    from scipy.special import logsumexp

    return float((logsumexp(logits, axis=1) - (targets * logits).sum(axis=1)).mean())


def smoothed(labels: Ints, classes: int) -> NDArray[np.float64]:
    """Targets (N, K) of labels (N,), short of certain by the share that N images leave open.

    N answers that are all right prove no more than an error of about 1 / (N + 2): without it such
    a set asks for a temperature of zero (Platt, "Probabilistic Outputs for Support Vector
    Machines", 1999, section 2.2).
    """
    doubt = 1 / (len(labels) + 2)
    out: NDArray[np.float64] = np.full((len(labels), classes), doubt / max(classes - 1, 1))
    out[np.arange(len(labels)), labels] = 1 - doubt
    return out


def at_temperature(logits: Floats, temperature: float) -> NDArray[Any]:
    """Logits whose softmax are the honest probabilities."""
    return logits / np.asarray(temperature, logits.dtype)

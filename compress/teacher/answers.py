"""How a head's logits are computed where they are more than ``scale · cos`` with one row a class.

    z = u(A f) R^T + exp(b (f K^T − 1)) V

of a unit feature f: rows R, of any length; perhaps a matrix A in front of them (u: at unit length);
perhaps a cache of N keys K and their votes V, which adds what similar shots are. Every head of
``compress/teacher/heads`` is of this form, so one class stores and exports them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

PARTS = ("rows", "matrix", "keys", "values", "sharpness")  # of an answer, as files name them
Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Cache:
    """Features that are known, and what each says of features like it.

    Attributes:
        keys: (N, D) unit rows.
        values: (N, K), each key's vote, strength included.
        sharpness: b; of a larger one only more similar keys count.
    """

    keys: NDArray[np.float32]
    values: NDArray[np.float32]
    sharpness: float


@dataclass(frozen=True)
class Answer:
    """The parts of the formula above.

    Attributes:
        rows: (K, D), R.
        matrix: (D, D), A; None: the identity.
        cache: None: none.
    """

    rows: NDArray[np.float32]
    matrix: NDArray[np.float32] | None = None
    cache: Cache | None = None

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., K) of unit features (..., D)."""
        seen = features
        if self.matrix is not None:
            seen = features @ self.matrix.T
            seen = seen / np.maximum(np.linalg.norm(seen, axis=-1, keepdims=True), 1e-12)
        out = seen @ self.rows.T
        if self.cache is not None:
            near = np.exp(self.cache.sharpness * (features @ self.cache.keys.T - 1))
            out = out + near @ self.cache.values
        return np.asarray(out, np.float32)

    def arrays(self) -> Arrays:
        """Its parts by name, as files keep them."""
        out = {"rows": self.rows}
        if self.matrix is not None:
            out["matrix"] = self.matrix
        if self.cache is not None:
            sharpness = np.asarray(self.cache.sharpness, np.float32)
            out |= {"keys": self.cache.keys, "values": self.cache.values, "sharpness": sharpness}
        return {name: np.asarray(value, np.float32, order="C") for name, value in out.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Answer:
        """The answer whose ``arrays`` these are."""
        cache = None
        if "keys" in arrays:
            cache = Cache(arrays["keys"], arrays["values"], float(arrays["sharpness"]))
        return cls(arrays["rows"], arrays.get("matrix"), cache)


def mean_probabilities(each: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The log of the mean of several probabilities, of their logits (..., K); one's logits stay."""
    if len(each) == 1:
        return each[0]
    logs = [log_softmax(logits, axis=-1) for logits in each]
    mean: NDArray[np.float32] = logsumexp(logs, axis=0) - np.log(np.float32(len(each)))
    return mean.astype(np.float32)

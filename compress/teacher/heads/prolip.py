"""ProLIP (Fahes et al. 2024, arXiv 2410.05270): the last projection of the image tower is tuned.

    z = scale u(W x) t^T,    loss = CE + (1 / N) |W − W_0|²,    N shots a class

x is what the tower gives before its projection W. The texts stay, so the classes keep what the
text tower knows of them, and the penalty needs no validation set.

Stages keep unit features, ``f = u(W_0 x)``, not x. So W is tuned within the range of W_0 here:
``W = A W_0`` with a square A that starts as the identity, and ``u(W x) = u(A f)`` exactly [I]. What
W_0 drops of x stays dropped: a weaker form of the method, which needs no other tower, fits every
teacher that has texts, and leaves the features that students learn as they were.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from compress.engine.errors import TrainingError
from compress.teacher.answers import Answer
from compress.teacher.artifact import unit
from compress.teacher.heads.head import Fitted, Shots

# The paper tries 1e-5 to 1e-2 with this penalty and finds little difference; A's entries are larger
# than those of W_0 [I].
LR = 1e-3
EPS = 1e-4  # of Adam [C]


def prolip(shots: Shots) -> Fitted:
    """The head after ``teacher.probe_steps`` full-batch steps of Adam, a cosine schedule."""
    features, labels = torch.from_numpy(shots.features), torch.from_numpy(shots.labels)
    texts = torch.from_numpy(shots.texts)
    matrix = torch.nn.Parameter(torch.eye(features.shape[1]))
    optimizer = torch.optim.Adam([matrix], LR, eps=EPS)
    steps = shots.settings.probe_steps
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    pull = 1 / max(shots.per_class, 1.0)
    with shots.progress.task("prolip", total=steps, unit="step") as task:
        for step in range(steps):
            loss = prolip_loss(matrix, features, labels, texts, shots.scale, pull)
            if not torch.isfinite(loss):
                got = f"{loss.item()} at step {step}"
                raise TrainingError("the loss of prolip is not finite", got=got)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            task.advance(loss=loss.item())
    tuned: NDArray[np.float32] = matrix.detach().numpy()
    moved = float(np.linalg.norm(tuned - np.eye(len(tuned))))
    answer = Answer((shots.scale * shots.texts).astype(np.float32), tuned)
    return Fitted(answer, unit(shots.texts @ tuned), {"moved": moved})


def prolip_loss(
    matrix: Tensor, features: Tensor, labels: Tensor, texts: Tensor, scale: float, pull: float
) -> Tensor:
    """Cross-entropy of features ``(n, D)`` through a matrix ``(D, D)``, which identity pulls."""
    logits = scale * normalize(features @ matrix.T, dim=-1) @ texts.T
    distance = (matrix - torch.eye(len(matrix))).square().sum()
    return cross_entropy(logits, labels) + pull * distance

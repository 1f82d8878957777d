"""LP++ (Huang et al., CVPR 2024, arXiv 2404.02285): a linear probe that blends images and texts.

    z_k = f (w_k + a_k t_k)

Both w and a are trained on the cross-entropy of the shots' views, a convex problem. What keeps a
few shots from being fitted blindly is the start and the way: w starts as the sum of a class's
shots, rates are what the loss's Lipschitz constants allow, full batch, and the blend a moves at
every tenth step only. So nothing is left to tune on validation images [C].

Here a starts as the teacher's own scale of cosines, so that the texts alone would be zero-shot; the
authors' code takes 250 times the mean cosine of a shot and its text, which is meant for CLIP's
narrow cosines [I]. Their bias is left out [I]. They keep the epoch that is best on validation
images; here the last one counts.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from compress.engine.errors import TrainingError
from compress.teacher.answers import Answer
from compress.teacher.artifact import unit
from compress.teacher.heads.head import Fitted, Shots

MOMENTUM = 0.9  # of w [C]
BLEND_EVERY = 10  # steps [C]


def lp_plus_plus(shots: Shots) -> Fitted:
    """The head after ``teacher.probe_steps`` steps."""
    features, labels = torch.from_numpy(shots.features), torch.from_numpy(shots.labels)
    texts = torch.from_numpy(shots.texts)
    weights = torch.nn.Parameter(class_sums(features, labels, shots.images, len(texts)))
    blend = torch.nn.Parameter(torch.full((len(texts),), float(shots.scale)))
    rate, blend_rate = rates(features, texts)
    optimizer = torch.optim.SGD([weights], rate, momentum=MOMENTUM)
    steps = shots.settings.probe_steps
    with shots.progress.task("lp++", total=steps, unit="step") as task:
        for step in range(steps):
            loss = cross_entropy(features @ (weights + blend[:, None] * texts).T, labels)
            if not torch.isfinite(loss):
                got = f"{loss.item()} at step {step}"
                raise TrainingError("the loss of lp++ is not finite", got=got)
            optimizer.zero_grad()
            blend.grad = None
            loss.backward()
            optimizer.step()
            if (step + 1) % BLEND_EVERY == 0 and blend.grad is not None:
                with torch.no_grad():
                    blend.sub_(blend_rate * blend.grad)
            task.advance(loss=loss.item())
    with torch.no_grad():
        rows: NDArray[np.float32] = (weights + blend[:, None] * texts).numpy()
    return Fitted(Answer(rows), unit(rows), {"blend": float(blend.detach().mean())})


def class_sums(features: Tensor, labels: Tensor, images: NDArray[np.int64], classes: int) -> Tensor:
    """``(K, D)``: the sum over a class's shots of their mean features over views."""
    _, members, counts = np.unique(images, return_inverse=True, return_counts=True)
    share = torch.from_numpy(1 / counts[members]).to(features)
    sums = torch.zeros(classes, features.shape[1])
    return sums.index_add_(0, labels, share[:, None] * features)


def rates(features: Tensor, texts: Tensor) -> tuple[float, float]:
    """The rates of w, ``4 n / λ_max(F^T F)``, and of a, ``n / (4 max_k |F t_k|²)`` [C]."""
    largest = float(torch.linalg.eigvalsh(features.T @ features)[-1])
    steepest = float((features @ texts.T).square().sum(0).max())
    return 4 * len(features) / largest, len(features) / (4 * steepest)

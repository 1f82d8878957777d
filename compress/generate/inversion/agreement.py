"""Whether the images show what was asked for: the teacher looks at each once, without cut-outs.

An image's style is recognized if, among the prompts of its class in all styles, that of its own
style is the nearest; its class, if among all classes without a style its own is. Of a mixture the
heaviest style counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compress.generate.artifact import SyntheticRecord
from compress.generate.inversion.word_targets import PromptTargets

CHUNK = 256  # images encoded at once


def style_agreement(
    prompts: PromptTargets, images: NDArray[np.uint8], records: Sequence[SyntheticRecord]
) -> dict[str, object]:
    """Shares of images ``(N, C, C, 3)`` whose style, class and both are recognized, in [0, 1].

    ``by_style`` has the share of each style in their order, None for one without images.
    """
    style, right = recognized(prompts, images, records)
    asked = np.asarray([record.style_id for record in records], np.int64)
    styles = len(prompts.style_features(records[0].class_id))
    own = (style[asked == number] for number in range(styles))
    return {
        "style": float(style.mean()),
        "class": float(right.mean()),
        "both": float((style & right).mean()),
        "styles": styles,
        "by_style": [float(shares.mean()) if len(shares) else None for shares in own],
    }


def recognized(
    prompts: PromptTargets, images: NDArray[np.uint8], records: Sequence[SyntheticRecord]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each image, whether its style is recognized, and whether its class is: ``(N,)`` each."""
    starts = range(0, len(images), CHUNK)  # one chunk of a memory map at a time
    parts = [prompts.teacher.encode_images(np.asarray(images[at : at + CHUNK])) for at in starts]
    features = np.concatenate(parts)
    classes = np.asarray([record.class_id for record in records], np.int64)
    asked = np.asarray([record.style_id for record in records], np.int64)
    right = (features @ prompts.class_head.cpu().numpy().T).argmax(1) == classes
    style = np.zeros(len(features), bool)
    for label in np.unique(classes):
        own = classes == label
        heads = prompts.style_features(int(label)).cpu().numpy()
        style[own] = (features[own] @ heads.T).argmax(1) == asked[own]
    return style, right

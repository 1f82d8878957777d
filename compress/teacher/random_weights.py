"""A teacher of a published architecture with random weights: useless answers, the same speed.

For latency, memory and size where the published weights cannot be downloaded. Whatever is derived
from it says so.
"""

from __future__ import annotations

import torch

from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError
from compress.engine.hub import hub
from compress.engine.seeds import derive
from compress.teacher.clip import ClipTeacher
from compress.teacher.loading import (
    published_arguments,
    require_architecture,
    require_open_clip,
    wrap,
)
from compress.teacher.sources import CONFIG_FILE, Folder, Tag, locate
from compress.teacher.weights import first_line

RANDOM = "random"  # the revision and license of such weights


def random_teacher(settings: TeacherSettings, seed: int = 0) -> ClipTeacher:
    """The architecture of ``settings.name`` with random weights; downloads nothing.

    The name is a model (``ViT-L-14``), a model and tag for its details, or a folder with a config.
    The same name and seed give the same weights. Raises as ``load_teacher``.
    """
    require_open_clip()
    from open_clip import create_model, get_tokenizer
    from open_clip.pretrained import get_pretrained_cfg

    source = locate(settings.name)
    if isinstance(source, Folder) and (source.path / CONFIG_FILE).is_file():
        name = f"local-dir:{source.path}"
        arguments = {}
    elif isinstance(source, Tag):
        require_architecture(source.model)
        record = get_pretrained_cfg(source.model, source.tag) if source.tag else {}
        name = source.model
        arguments = published_arguments(record) if record else {}
    else:
        raise ConfigError(
            "random weights need an architecture",
            got=repr(settings.name),
            expected=f"an open_clip model such as ViT-L-14, or a folder with {CONFIG_FILE}",
        )
    with hub(offline=True), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "random teacher", name.rpartition("/")[2]))
        try:
            model = create_model(
                name, load_weights=False, pretrained_image=False, pretrained_text=False, **arguments
            )
            tokenize = get_tokenizer(name)
        except Exception as error:  # a tokenizer or a config that only the hub has
            raise ConfigError(
                "this architecture cannot be built here",
                got=f"{settings.name}: {first_line(error)}",
                expected="one whose config and tokenizer are on this machine, e.g. ViT-L-14",
            ) from error
    return wrap(model, tokenize, settings, "cpu", license=RANDOM, revision=RANDOM)

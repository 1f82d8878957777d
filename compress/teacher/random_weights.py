"""A teacher of a published architecture with random weights: it knows nothing, and takes exactly as
long.

For latency, memory and size where the published weights cannot be had. Everything made from it says
so.
"""

from __future__ import annotations

from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError, MissingExtraError, nearest
from compress.engine.hub import hub
from compress.engine.seeds import derive
from compress.teacher.clip import (
    CONFIG_FILE,
    INSTALL,
    Folder,
    Tag,
    Teacher,
    locate,
    published_arguments,
    wrap,
)

RANDOM = "random"  # the revision and license of such weights


def random_teacher(settings: TeacherSettings, seed: int = 0) -> Teacher:
    """The architecture that ``settings.name`` names (``ViT-L-14``, with a tag for its details, or a
    folder's config).

    The same name and seed give the same weights. Nothing is downloaded.

    Raises:
        ConfigError: no such architecture, or a name that means weights and not an architecture.
        MissingExtraError: open_clip is not installed.
    """
    try:
        from open_clip import create_model, get_tokenizer, list_models
        from open_clip.pretrained import get_pretrained_cfg
    except ImportError as error:
        raise MissingExtraError("a teacher needs open_clip", remedy=INSTALL) from error
    import torch

    source = locate(settings.name)
    if isinstance(source, Folder) and (source.path / CONFIG_FILE).is_file():
        model, arguments = f"local-dir:{source.path}", {}
    elif isinstance(source, Tag):
        if source.model not in list_models():
            raise ConfigError(
                "unknown architecture",
                got=repr(source.model),
                remedy=nearest(source.model, list_models()),
            )
        published = get_pretrained_cfg(source.model, source.tag) if source.tag else {}
        model, arguments = source.model, published_arguments(published) if published else {}
    else:
        raise ConfigError(
            "random weights need an architecture",
            got=repr(settings.name),
            expected=f"an open_clip model such as ViT-L-14, or a folder with {CONFIG_FILE}",
        )
    with hub(offline=True), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "random teacher", model.rpartition("/")[2]))
        try:
            made = create_model(
                model,
                load_weights=False,
                pretrained_image=False,
                pretrained_text=False,
                **arguments,
            )
            tokenize = get_tokenizer(model)
        except Exception as error:  # a tokenizer or a config that only the hub has
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                "this architecture cannot be made here",
                got=f"{settings.name}: {first[:200]}",
                expected="one whose config and tokenizer are on this machine, e.g. ViT-L-14",
            ) from error
    return wrap(made, tokenize, settings, "cpu", license=RANDOM, revision=RANDOM)

"""Licenses of teachers' weights: what their publishers state, and what binds who uses them."""

from __future__ import annotations

from compress.engine.packages import PACKAGES, installed
from compress.teacher.sources import Tag, TimmNet, locate

# What the authors of the weights state, by the beginning of open_clip's tag; others are "unknown".
LICENSES = {
    "openai": "MIT",
    "laion": "MIT",
    "datacomp": "MIT",
    "dfn": "apple-amlr",
    "webli": "Apache-2.0",
}

# what a person has to know before using weights of a license that is neither permissive nor unknown
NOTICES = {
    "dinov3-license": "DINOv3 License: agree at ai.meta.com/resources/models-and-libraries/"
    "dinov3-license; it binds what is derived from the weights",
    "fair-noncommercial-research-license": "FAIR Noncommercial Research License: no commercial use",
    "cc-by-nc-4.0": "CC BY-NC 4.0: no commercial use",
    "apple-amlr": "Apple Machine Learning Research Model license: research only",
    "seer-license": "SEER license: no commercial use",
    "nvidia-open-model-license": "NVIDIA Open Model License",
    "gemma": "Gemma Terms of Use",
}


PERMISSIVE = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc-by-4.0", "cc0-1.0")


def stated_license(name: str) -> str:
    """The license that a teacher's publisher states, known before anything is loaded.

    "unknown" for files of one's own, also of a timm network under a name without a tag: such a file
    may hold any weights.
    """
    source = locate(name)
    if isinstance(source, Tag):
        found = (text for prefix, text in LICENSES.items() if source.tag.startswith(prefix))
        return next(found, "unknown")
    if not isinstance(source, TimmNet):
        return "unknown"
    if source.path is None and installed(source.model):
        return PACKAGES[source.model].license
    if source.path is not None and "." not in source.model:
        return "unknown"
    import timm

    record = timm.get_pretrained_cfg(source.model, allow_unregistered=True)
    return str(getattr(record, "license", None) or "unknown")


def notice(license: str) -> str | None:
    """What a license asks of its user, None for a permissive or an unknown one.

    Args:
        license: as its publisher names it; of several teachers all, joined by " + ".
    """
    asked = []
    for name in license.split(" + "):
        if name.lower() in NOTICES:
            asked.append(NOTICES[name.lower()])
        elif name.lower() not in (*PERMISSIVE, "unknown"):
            asked.append(f"{name}: read its terms before use")
    return "; ".join(asked) or None

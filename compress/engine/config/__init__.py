"""Every setting of a run: frozen, strict and free of torch.

settings   the settings and their defaults, in pipeline order
layers     presets and overrides, merged and validated into `Settings`
"""

# ruff: noqa: F401 (other rooms import all of it from here)
from __future__ import annotations

from compress.engine.config.layers import (
    Layer,
    merge,
    parse_set,
    preset,
    preset_names,
    read_config,
    read_layer,
    resolve,
    setting_paths,
    world,
)
from compress.engine.config.settings import (
    CLIP_TEMPLATES,
    DataSettings,
    DistillSettings,
    GenddSettings,
    GenerateSettings,
    HostSettings,
    ImageSettings,
    InversionSettings,
    LabelSettings,
    MetaSettings,
    ProbingSettings,
    PromptSettings,
    QuantizeSettings,
    Section,
    Settings,
    TeacherSettings,
)

"""Every setting of a run: frozen, strict and free of torch.

section    what every group of settings is, and the limits of numbers
settings   the settings and their defaults, in pipeline order
student    those of the student's training
host       how a run is made on this machine, which changes no result
layers     presets and overrides, merged and validated into `Settings`
"""

# ruff: noqa: F401 (other rooms import all of it from here)
from __future__ import annotations

from compress.engine.config.host import HostSettings
from compress.engine.config.layers import (
    Layer,
    merge,
    parse_set,
    preset,
    preset_names,
    read_bundle,
    read_config,
    read_layer,
    resolve,
    setting_paths,
    world,
)
from compress.engine.config.section import Section
from compress.engine.config.settings import (
    CLIP_TEMPLATES,
    DataSettings,
    GenerateSettings,
    ImageSettings,
    InversionSettings,
    LabelSettings,
    ProbingSettings,
    PromptSettings,
    QuantizeSettings,
    Settings,
    TeacherSettings,
)
from compress.engine.config.student import DistillSettings, GenddSettings, MetaSettings

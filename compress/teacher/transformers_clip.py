"""A CLIP in the format of transformers (``CLIPModel``), as open_clip's network of the same shape.

    path/to/folder    config.json with model_type "clip", and *.safetensors or pytorch_model.bin

TinyCLIP and many smaller CLIPs are published like this alone. Weights are renamed, not changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.engine.errors import ConfigError
from compress.teacher.weights import first_line, read_tensors, require_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
FILES = (CONFIG, PREPROCESSOR, "*.safetensors", "pytorch_model.bin")
VOCABULARY = 49408  # of CLIP's tokenizer, which open_clip brings
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of OpenAI's CLIP, unless the folder says otherwise
STD = (0.26862954, 0.26130258, 0.27577711)

#: names outside the layers: transformers -> open_clip, before the weight's own last word
NAMES = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
    "logit_scale": "logit_scale",
}
#: parts of a layer
PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
TURNED = ("visual.proj", "text_projection")  # matrices that open_clip multiplies from the right
LAYER = re.compile(r"(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
TOWERS = {"vision": "visual.transformer.resblocks", "text": "transformer.resblocks"}


def is_transformers(folder: Path) -> bool:
    """Whether a folder holds a CLIP in this format."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "clip"


def weights_of(folder: Path) -> Path:
    """The weights of such a folder; ConfigError without any. Loads nothing."""
    files = [*sorted(folder.glob("*.safetensors")), *folder.glob("pytorch_model.bin")]
    if not files:
        expected = "model.safetensors or pytorch_model.bin"
        raise ConfigError("this CLIP has no weights", got=folder, expected=expected)
    if files[0].suffix == ".safetensors":
        require_tensors(files[0])
    return files[0]


def model_config(folder: Path) -> dict[str, Any]:
    """Its configuration as open_clip writes it; ConfigError for towers that open_clip has not."""
    given = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    vision = {**VISION, **(given.get("vision_config") or {})}
    text = {**TEXT, **(given.get("text_config") or {})}
    acts = {vision["hidden_act"], text["hidden_act"]}
    if len(acts) > 1 or not acts <= {"gelu", "quick_gelu"} or text["vocab_size"] != VOCABULARY:
        got = f"activations {', '.join(sorted(acts))}, {text['vocab_size']} words"
        expected = f"gelu or quick_gelu in both towers, {VOCABULARY} words"
        raise ConfigError(
            f"{folder} holds a CLIP that open_clip has not", got=got, expected=expected
        )
    return {
        "embed_dim": given.get("projection_dim", 512),
        "quick_gelu": acts == {"quick_gelu"},
        "vision_cfg": {
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "layers": vision["num_hidden_layers"],
            "width": vision["hidden_size"],
            "head_width": vision["hidden_size"] // vision["num_attention_heads"],
            "mlp_ratio": vision["intermediate_size"] / vision["hidden_size"],
        },
        "text_cfg": {
            "context_length": text["max_position_embeddings"],
            "vocab_size": text["vocab_size"],
            "width": text["hidden_size"],
            "heads": text["num_attention_heads"],
            "layers": text["num_hidden_layers"],
            "mlp_ratio": text["intermediate_size"] / text["hidden_size"],
        },
    }


#: transformers writes what differs from these, its defaults
VISION = {
    "image_size": 224,
    "patch_size": 32,
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "quick_gelu",
}
TEXT = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 77,
    "num_hidden_layers": 12,
    "hidden_size": 512,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "hidden_act": "quick_gelu",
}


def load(folder: Path) -> tuple[nn.Module, Any]:
    """The network and its tokenizer; ConfigError for weights that do not fit."""
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer

    config = model_config(folder)
    weights = weights_of(folder)
    model = open_clip.CLIP(**config)
    try:
        model.load_state_dict(renamed(read_tensors(weights)))
    except RuntimeError as error:
        what = f"{weights} does not fit its {CONFIG}"
        raise ConfigError(
            what, got=first_line(error), expected="a CLIPModel of transformers"
        ) from error
    visual: Any = model.visual
    visual.preprocess_cfg = _preprocessing(folder, config["vision_cfg"]["image_size"])
    return model, SimpleTokenizer(context_length=config["text_cfg"]["context_length"])


def _preprocessing(folder: Path, size: int) -> dict[str, Any]:
    file = folder / PREPROCESSOR
    given = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    mean, std = given.get("image_mean", MEAN), given.get("image_std", STD)
    return {"size": size, "mean": mean, "std": std, "interpolation": "bicubic"}


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by open_clip's names; query, key and value of a layer become one matrix."""
    import torch

    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        layer = LAYER.fullmatch(name)
        if layer is None:
            known = NAMES.get(name) or _with_ending(name)
            if known is not None:  # position ids are counted, not learned
                found[known] = value.T.contiguous() if known in TURNED else value
            continue
        tower, number, part, kind = layer.groups()
        place = f"{TOWERS[tower]}.{number}"
        if part in PARTS:
            found[f"{place}.{PARTS[part]}.{kind}"] = value
        elif part == "self_attn.q_proj":
            stem = name.replace("q_proj", "{}_proj")
            rows = [weights[stem.format(each)] for each in "qkv"]
            found[f"{place}.attn.in_proj_{kind}"] = torch.cat(rows)
    return found


def _with_ending(name: str) -> str | None:
    stem, _, ending = name.rpartition(".")
    return f"{NAMES[stem]}.{ending}" if stem in NAMES else None


def fetched(repository: str, online: bool) -> Path | None:
    """The folder of a repository on the hub in this format; None for any other.

    Raises: what huggingface_hub raises for what is neither cached nor reachable.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        hf_hub_download(repository, "open_clip_config.json", local_files_only=not online)
        return None
    except EntryNotFoundError:  # of a repository, or of the cache
        folder = snapshot_download(
            repository, allow_patterns=list(FILES), local_files_only=not online
        )
    return Path(folder) if is_transformers(Path(folder)) else None

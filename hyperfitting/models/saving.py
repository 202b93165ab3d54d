"""A model's folder, as transformers 5 writes it and as older readers expect it."""

import json
from pathlib import Path

from torch import nn

from ..files import rewrite_json
from .older_names import config_with_older_names, describes


def save_pretrained(model: nn.Module, codec, folder: Path, config=None) -> None:
    """Write a transformers folder that opens wherever the model's source opened: safetensors shards, the tokenizer's own
    files, a config under old and new names, and a generation config that leaves sampling off, because a left-over
    temperature or top_k would change what every later decoding rule means.

    Args:
        codec: what writes the tokenizer; see `Codec.save`.
        config: the settings to store; default: those of `model`, in which training has set every dropout to 0.
    """
    from transformers import GenerationConfig

    old = model.generation_config
    model.generation_config = GenerationConfig(
        bos_token_id=old.bos_token_id, eos_token_id=old.eos_token_id, pad_token_id=old.pad_token_id, do_sample=False
    )
    if config is not None:
        model.config = config
    source = _source_config(model.config)
    model.save_pretrained(folder, safe_serialization=True)

    def readable(written: dict) -> dict:
        named = config_with_older_names(written, source)
        # A family that older versions do not have may mean something else by an old name: it keeps what was written.
        return named if describes(named, model.config) else written

    rewrite_json(folder / "config.json", readable)
    codec.save(folder)


def _source_config(config) -> dict | None:
    """The config.json that a config was read from; None where there is none, or where it was changed since."""
    from transformers.utils import cached_file

    try:
        file = cached_file(config._name_or_path, "config.json", revision=getattr(config, "_commit_hash", None))
        source = json.loads(Path(file).read_text(encoding="utf-8"))
    except Exception:  # a model that was made in memory, a folder that is gone, no network
        return None
    text = source.get("text_config")
    if isinstance(text, dict) and text.get("model_type") == config.model_type:
        source = text  # the part of a model for images and texts that is used here
    return source if describes(source, config) else None

"""What a run writes into its folder, at every depth, as patterns of `removal`: nothing else is ever removed."""

import re
from pathlib import Path

from ..removal import BELOW, LIST, MARK, listed_files

TRACKERS = (  # those of Accelerate that write below its logging_dir: TensorBoard and Aim
    "hyperfitting/events.out.tfevents.*",
    "hyperfitting/[0-9]*.[0-9]*/events.out.tfevents.*",
    "hyperfitting/[0-9]*.[0-9]*/hparams.yml",
    f".aim/{BELOW}",
)
WEIGHTS = ("model.safetensors", "model-[0-9]*-of-[0-9]*[0-9].safetensors", "model.safetensors.index.json")
# A model folder without a list: one that was never finished, or an older version's.
MODEL = (
    LIST,
    "README.md",
    "config.json",
    "generation_config.json",
    *WEIGHTS,
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "sp*.model",
    "sentencepiece*.model",
    "preprocessor_config.json",
    "processor_config.json",
)
# A checkpoint without its mark: what Accelerate, DeepSpeed and FSDP write.
CHECKPOINT = (
    MARK,
    "progress.json",
    *WEIGHTS,
    "pytorch_model*.bin",
    "optimizer*.bin",
    "scheduler*.bin",
    "sampler*.bin",
    "scaler.pt",
    "random_states_*.pkl",
    "latest",
    "zero_to_fp32.py",
    "pytorch_model*/*.pt",
    *(f"{folder}/{file}" for folder in ("pytorch_model*", "optimizer*") for file in ("*.distcp", ".metadata*")),
)


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder's name is that of a checkpoint: a finished or unfinished one, or one that was set aside."""
    return re.fullmatch(r"(aside_)?step_\d{7,}(\.tmp|\.old)?", folder.name) is not None


def of_model(folder: Path) -> tuple[str, ...]:
    """What a run wrote into a model folder; nothing, where it is someone else's."""
    listed = listed_files(folder)
    if listed is not None:
        return tuple(listed)
    return MODEL if folder.name.endswith(".tmp") or _is_an_older_versions(folder) else ()


def of_checkpoint(folder: Path) -> tuple[str, ...]:
    """What a run wrote into the folder of a checkpoint, finished or not."""
    return tuple(listed_files(folder) or CHECKPOINT)


def _is_an_older_versions(folder: Path) -> bool:
    card = folder / "README.md"
    return card.is_file() and "\n- hyperfitting\n" in card.read_text(encoding="utf-8", errors="replace")[:1000]

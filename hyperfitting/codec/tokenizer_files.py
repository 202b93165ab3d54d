"""The files of a tokenizer in a model's folder: the source's own wherever the tokenizer is still the source's."""

import json
import shutil
from pathlib import Path

from ..files import rewrite_json

# What readers other than transformers 5 look for: it writes tokenizer.json, tokenizer_config.json and chat templates alone.
KNOWN_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tekken.json",
)


def save_tokenizer(tokenizer, revision: str | None, folder: Path) -> None:
    """Write a tokenizer so that whoever reads its source reads the same ids here.

    transformers 5 leaves out files that llama.cpp's converter and transformers 4 need, such as `tokenizer.model`. So a
    tokenizer that is as it was loaded is written as the files that it was loaded from; a changed one as transformers writes
    it.

    Args:
        revision: branch, tag or commit of the repository that the tokenizer was loaded from, if it was one.
    """
    tokenizer.save_pretrained(folder)
    source = _source_files(tokenizer, revision)
    if source:
        for name in KNOWN_FILES:
            (folder / name).unlink(missing_ok=True)
        for file in source:
            shutil.copyfile(file, folder / Path(file).name)
    if (folder / "tokenizer_config.json").exists():
        rewrite_json(folder / "tokenizer_config.json", tokenizer_config_with_older_names)


def _source_files(tokenizer, revision: str | None) -> list[str]:
    """The files that a tokenizer was loaded from; none where they cannot be read, or hold another tokenizer than this."""
    from transformers import AutoTokenizer
    from transformers.utils import cached_file

    name = tokenizer.name_or_path
    try:
        loaded = AutoTokenizer.from_pretrained(name, revision=revision)
        if _state(loaded) != _state(tokenizer):
            return []
        lenient = dict.fromkeys(
            (f"_raise_exceptions_for_{what}" for what in ("gated_repo", "missing_entries", "connection_errors")), False
        )
        files = [cached_file(name, file, revision=revision, **lenient) for file in KNOWN_FILES]
    except Exception:  # a folder that is gone, a class that runs code of its own, no network
        return []
    return [file for file in files if file]


def _state(tokenizer) -> str:
    """All that decides ids, special tokens and rendered chats."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = tokenizer.get_vocab() if backend is None else json.loads(backend.to_str())
    for passing in ("truncation", "padding"):
        state.pop(passing, None) if backend is not None else None
    beside = (
        type(tokenizer).__name__,
        tokenizer.special_tokens_map,
        tokenizer.chat_template,
        tokenizer.model_max_length,
    )
    return json.dumps([state, *beside], sort_keys=True, default=str)


def tokenizer_config_with_older_names(config: dict) -> dict:
    """A tokenizer_config.json that transformers 5 wrote, as transformers 4 reads it too: with a class that it has, and
    special tokens under its name for them; without where the tokenizer lay when it was loaded."""
    kept = {key: value for key, value in config.items() if key not in ("is_local", "local_files_only")}
    if kept.get("tokenizer_class") == "TokenizersBackend":
        kept["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(kept.get("extra_special_tokens"), list):
        kept.setdefault("additional_special_tokens", kept.pop("extra_special_tokens"))
        kept.pop("extra_special_tokens", None)
    return kept

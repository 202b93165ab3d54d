"""Text: a tokenizer as a codec."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from .base import Codec

LONGEST_TOKEN = 16  # characters; texts of longer ones are cut again, further on


class TextCodec(Codec):
    """The codec of a transformers `tokenizer`. A document that is None, as a dataset may hold, is an empty text."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self.tokenizer)

    def encode(self, documents: Sequence[str | None], special: bool = True) -> list[list[int]]:
        if not documents:
            return []
        texts = [document or "" for document in documents]
        return self.tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]

    def encode_start(self, documents: Sequence[str | None], tokens: int) -> list[list[int]]:
        """Token ids of the start of each document: at least `tokens` of them, as of the whole document, where it holds so
        many. A document of fifty megabytes costs what one of a few thousand characters does."""
        documents = [document or "" for document in documents]
        found: list[list[int] | None] = [None] * len(documents)
        length, left = LONGEST_TOKEN * tokens, list(range(len(documents)))
        while left:
            short = [i for i in left if len(documents[i]) <= length]
            for i, ids in zip(short, self.encode([documents[i] for i in short]), strict=True):
                found[i] = ids
            left = [i for i in left if len(documents[i]) > length]
            # Where a text is cut its last ids may be others: what a cut twice as far away gives as well is the document's.
            cut, cut_later = (self.encode([documents[i][: n * length] for i in left]) for n in (1, 2))
            for i, ids, later in zip(left, cut, cut_later, strict=True):
                if len(ids) >= tokens and ids[:tokens] == later[:tokens]:
                    found[i] = ids[:tokens]
            left = [i for i in left if found[i] is None]
            length *= 4
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, without the start token that they may begin with."""
        starts = len(ids) > 0 and ids[0] == self.tokenizer.bos_token_id
        return self.tokenizer.decode(ids[1:] if starts else ids)

    @cached_property
    def fingerprint(self) -> str:
        return tokenizer_fingerprint(self.tokenizer)

    @property
    def end_ids(self) -> set[int]:
        end = self.tokenizer.eos_token_id
        return set() if end is None else {end}

    def word_starts(self) -> np.ndarray:
        return word_starts(self.tokenizer)

    def save(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder)


def tokenizer_fingerprint(tokenizer) -> str:
    """SHA-256 (first 16 hex digits) of what decides how text becomes ids: vocabulary, merges and pre-processing."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        state = tokenizer.get_vocab()
    else:
        state = json.loads(backend.to_str())
        state.pop("truncation"), state.pop("padding")
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]


def word_starts(tokenizer) -> np.ndarray:
    """(vocabulary,) bool: whether an id begins a new word, that is, whether its text after another piece begins with
    whitespace. Holds for byte-level BPE and for SentencePiece style tokenizers alike, because it asks the decoder."""
    size = len(tokenizer)
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"][-1]
    alone = tokenizer.decode([anchor], clean_up_tokenization_spaces=False)
    special = set(tokenizer.all_special_ids)
    texts = tokenizer.batch_decode([[anchor, i] for i in range(size)], clean_up_tokenization_spaces=False)
    return np.array([i not in special and text[len(alone) : len(alone) + 1].isspace() for i, text in enumerate(texts)])

"""What turns documents into token ids, and ids into something that a person can look at: for text, a tokenizer."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from .builtin import explained, resolve

LONGEST_TOKEN = 16  # characters; texts of longer ones are cut again, further on


class Codec:
    """A tokenizer, as the rest of the library sees it. Every place that differs between kinds of data asks here.

    Attributes:
        tokenizer: the transformers tokenizer behind it.
        fingerprint: see `tokenizer_fingerprint`.
        end_ids: ids that end a text.
    """

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        """Number of ids that it knows."""
        return len(self.tokenizer)

    def encode(self, documents: Sequence[str], special: bool = True) -> list[list[int]]:
        """Token ids of whole documents; with `special` what the tokenizer puts around one, such as a start token."""
        if not documents:
            return []
        return self.tokenizer(list(documents), add_special_tokens=special, verbose=False)["input_ids"]

    def encode_start(self, documents: Sequence[str], tokens: int) -> list[list[int]]:
        """Token ids of the start of each document: at least `tokens` of them, as of the whole document, where it holds so
        many. A document of fifty megabytes costs what one of a few thousand characters does."""
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
        """The text of token ids."""
        return self.tokenizer.decode(ids)

    @cached_property
    def fingerprint(self) -> str:
        return tokenizer_fingerprint(self.tokenizer)

    @property
    def end_ids(self) -> set[int]:
        end = self.tokenizer.eos_token_id
        return set() if end is None else {end}

    def word_starts(self) -> np.ndarray:
        """See `word_starts`."""
        return word_starts(self.tokenizer)

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into a model folder."""
        self.tokenizer.save_pretrained(folder)


def as_codec(tokenizer) -> Codec:
    """A codec as it is, or one of a transformers tokenizer."""
    return tokenizer if isinstance(tokenizer, Codec) else Codec(tokenizer)


def load_codec(
    model: str | None, tokenizer: str | None = None, revision: str | None = None, trust_remote_code: bool = False
) -> Codec:
    """The codec of a model, or of another Hub id or folder.

    Args:
        revision: of the model's repository; another tokenizer has revisions of its own, which this one does not name.

    Raises:
        UserError: when it cannot be loaded, naming the flag that asked for it.
    """
    from transformers import AutoTokenizer

    name, flag = (tokenizer, "--tokenizer") if tokenizer else (model, "--model")
    with explained(name, flag):
        return Codec(
            AutoTokenizer.from_pretrained(
                resolve(name), revision=None if tokenizer else revision, trust_remote_code=trust_remote_code
            )
        )


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

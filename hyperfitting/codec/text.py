"""Text: a tokenizer as a codec."""

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from .base import Codec
from .tokenizer_files import save_tokenizer
from .words import begins_character

_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
# How GPT-2's kind of vocabulary spells a byte: itself, or a letter from the 256th on.
_BYTES = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(256 + place): byte for place, byte in enumerate(sorted(set(range(256)) - set(_PRINTABLE)))
}
LONGEST_TOKEN = 16  # characters; texts of longer ones are cut again, further on


class TextCodec(Codec):
    """The codec of a transformers `tokenizer`. A document that is None, as a dataset may hold, is an empty text.

    Args:
        revision: branch, tag or commit of the Hub repository that it was loaded from.
    """

    def __init__(self, tokenizer, revision: str | None = None):
        self.tokenizer, self.revision = tokenizer, revision

    def __len__(self) -> int:
        return self._size

    @cached_property
    def _size(self) -> int:
        return vocabulary_size(self.tokenizer)

    def encode(self, documents: Sequence[str | None], special: bool = True) -> list[list[int]]:
        if not documents:
            return []
        texts = [document or "" for document in documents]
        found = self.tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
        return [self._with_one_start(ids) for ids in found] if special else found

    def encode_opening(self, documents: Sequence[str | None]) -> list[list[int]]:
        behind = len(self._behind)
        return [ids[: len(ids) - behind] for ids in self.encode(documents)]

    def _with_one_start(self, ids: list[int]) -> list[int]:
        """The ids without a second start token, of a text that begins with one where the tokenizer adds another."""
        start = self.tokenizer.bos_token_id
        twice = sum(1 for _ in itertools.takewhile(lambda i: i == start, ids)) - 1
        return ids[max(twice, 0) :]

    @cached_property
    def _behind(self) -> list[int]:
        """What the tokenizer puts behind a document, such as an end token."""
        plain, whole = (self.tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
        places = (i + len(plain) for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
        return whole[next(places, len(whole)) :]

    def encode_start(self, documents: Sequence[str | None], tokens: int) -> list[list[int]]:
        """Token ids of the start of each document: at least `tokens` of them, as of the whole document, where it holds so
        many. A document of fifty megabytes costs what one of a few thousand characters does."""
        documents = [document or "" for document in documents]
        found: list[list[int] | None] = [None] * len(documents)
        length, left = LONGEST_TOKEN * tokens, list(range(len(documents)))
        while left:
            short = [i for i in left if len(documents[i]) <= length]
            for i, ids in zip(short, self.encode_opening([documents[i] for i in short]), strict=True):
                found[i] = ids
            left = [i for i in left if len(documents[i]) > length]
            # Where a text is cut its last ids may be others: what a cut twice as far away gives as well is the document's.
            cut, cut_later = (self.encode_opening([documents[i][: n * length] for i in left]) for n in (1, 2))
            for i, ids, later in zip(left, cut, cut_later, strict=True):
                if len(ids) >= tokens and ids[:tokens] == later[:tokens]:
                    found[i] = ids[:tokens]
            left = [i for i in left if found[i] is None]
            length *= 4
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, without the start token that they may begin with. Ids beyond the tokenizer's, which a model may have
        and choose, are no text."""
        starts, size = len(ids) > 0 and ids[0] == self.tokenizer.bos_token_id, len(self)
        known = [i for i in ids[starts:] if i < size]
        text = self.tokenizer.decode(known)
        return self.tokenizer.decode(self._with_whole_characters(known)) if "\ufffd" in text else text

    @cached_property
    def _ids_of_bytes(self) -> list[int]:
        """The id of each byte where pieces such as `<0xE4>` spell what the vocabulary lacks; else none."""
        vocabulary = self.tokenizer.get_vocab()
        found = [vocabulary.get(f"<0x{byte:02X}>") for byte in range(256)]
        return [] if None in found else found

    def _with_whole_characters(self, ids: list[int]) -> list[int]:
        """The ids with U+FFFD in place of bytes that are no character: of all bytes in a row the tokenizer would give none, and a
        text of a script that it spells in bytes, cut within a character, would be lost whole."""
        bytes_of, whole = {i: byte for byte, i in enumerate(self._ids_of_bytes)}, []
        for spelled, run in itertools.groupby(ids, bytes_of.__contains__):
            if spelled:
                text = bytes(bytes_of[i] for i in run).decode(errors="replace")
                run = (self._ids_of_bytes[byte] for byte in text.encode())
            whole += run
        return whole

    @cached_property
    def fingerprint(self) -> str:
        return tokenizer_fingerprint(self.tokenizer)

    @property
    def end_ids(self) -> set[int]:
        end = self.tokenizer.eos_token_id
        return {*([] if end is None else [end]), *self._behind[:1]}

    def word_starts(self) -> np.ndarray:
        return word_starts(self.tokenizer)

    def save(self, folder: Path) -> None:
        save_tokenizer(self.tokenizer, self.revision, folder)


def tokenizer_fingerprint(tokenizer) -> str:
    """SHA-256 (first 16 hex digits) of what decides how text becomes ids: vocabulary, merges and pre-processing."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        state = tokenizer.get_vocab()
    else:
        state = json.loads(backend.to_str())
        state.pop("truncation"), state.pop("padding")
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]


def vocabulary_size(tokenizer) -> int:
    """One more than the largest id: a vocabulary may have gaps, and then `len(tokenizer)` is below ids that it gives."""
    return max(len(tokenizer), *(i + 1 for i in tokenizer.get_vocab().values()))


def word_starts(tokenizer) -> np.ndarray:
    """(vocabulary,) bool: whether an id begins a new word, that is, whether its text after another piece begins with
    whitespace, or with a character of a script without spaces (see `words`). Holds for byte-level BPE and for SentencePiece
    style tokenizers alike, because it asks the decoder. An id that stands for no text, as in a gap, begins none."""
    found = np.zeros(vocabulary_size(tokenizer), dtype=bool)
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"][-1:]  # none of a vocabulary without it
    alone = len(tokenizer.decode(anchor, clean_up_tokenization_spaces=False))
    ids = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
    texts = tokenizer.batch_decode([[*anchor, i] for i in ids], clean_up_tokenization_spaces=False)
    for i, text in zip(ids, texts, strict=True):
        behind = text[alone:]
        if not behind or behind.startswith("\ufffd"):  # less than a character
            found[i] = _begin_character(_bytes_of(tokenizer.convert_ids_to_tokens(i)))
        else:
            found[i] = behind[:1].isspace() or begins_character(behind)
    return found


def _bytes_of(piece: str) -> bytes:
    """The bytes that a piece stands for: `<0xE4>`, or a letter for each as in GPT-2; none where it is written otherwise."""
    if named := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", piece):
        return bytes.fromhex(named[1])
    return bytes(_BYTES[letter] for letter in piece) if set(piece) <= _BYTES.keys() else b""


def _begin_character(start: bytes) -> bool:
    """Whether most characters that begin with these bytes are words of their own, in scripts without spaces.

    So does a lead byte of Chinese or Japanese, but not one that Hindi shares with Thai, or that emoji share with rare Chinese.
    """
    length = 4 if start >= b"\xf0" else 3
    ends = [(start[:length].ljust(length, byte)).decode(errors="ignore") for byte in (b"\x80", b"\xbf")]
    if not all(ends):  # the middle of a character, or a lead byte that not every other byte may follow
        return False
    span = range(ord(ends[0]), ord(ends[1]) + 1)
    return 2 * sum(begins_character(chr(code)) for code in span) > len(span)

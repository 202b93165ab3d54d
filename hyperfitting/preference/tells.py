"""What would tell an annotator where a text comes from, other than what it says; removed on both sides alike."""

import re
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Tell:
    """Something that one source of texts leaves behind and another does not."""

    name: str
    pattern: re.Pattern
    replacement: str


# Joiners are a part of words in Persian and of scripts of India, and of emoji: there they stand between characters that are no ASCII.
_LOOSE_JOINER = "(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
# In this order: what a marker leaves behind is a double space.
TELLS = (
    Tell("marker of a special token", re.compile(r"<\|[\w ]{1,40}\|>|</?s>|<(?:eos|bos|pad|unk|end_of_turn)>|\[(?:PAD|CLS|SEP|UNK|MASK)\]"), ""),
    Tell("character that no font shows", re.compile(f"[\xad\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2064\ufeff\ufffd\x00-\x08\x0b-\x1f\x7f]|{_LOOSE_JOINER}"), ""),
    Tell("typographic quotation mark", re.compile("[\u201c\u201d\u201e\u00ab\u00bb]|``|''"), '"'),
    Tell("typographic apostrophe", re.compile("[\u2018\u2019\u201a]"), "'"),
    Tell("ellipsis in one character", re.compile("\u2026"), "..."),
    Tell("separator of WikiText", re.compile(r" @([-,.])@ "), r"\1"),
    Tell("unusual space", re.compile("[\t\xa0\u2000-\u200a\u202f\u3000]"), " "),
    Tell("space before punctuation", re.compile(r" +(?=[,.;:!?](?:\s|\Z))"), ""),
    Tell("double space", re.compile(r" {2,}"), " "),
    Tell("space at the end of a line", re.compile(r" +(?=\n)|(?<=\n) +"), ""),
    Tell("empty line", re.compile(r"\n{2,}"), "\n"),
)  # fmt: skip


def without_tells(text: str) -> tuple[str, Counter]:
    """The text without them, and how often each was there."""
    found = Counter()
    for tell in TELLS:
        text, count = tell.pattern.subn(tell.replacement, text)
        if count:
            found[tell.name] += count
    return text.strip(), found

"""Two texts cut to the same number of tokens or words, so that neither length nor ending tells which is which."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ..records import GeneratedText

SEARCH = 32  # units that are given up at most for an ending that tells nothing
_SENTENCE_END = re.compile(r"[.!?…。！？:;][\"'”’)\]»*_\s]*\Z")
_WORD = re.compile(r"\s*\S+")


@dataclass(frozen=True)
class Units:
    """A text as tokens or words.

    Attributes:
        count: how many it has.
        start: number of units -> the text of the first ones.
    """

    count: int
    start: Callable[[int], str]

    def ends_between_words(self, count: int) -> bool:
        """Whether a word ends with the first `count` units; of the last one nobody knows."""
        if count >= self.count:
            return False
        here, further = self.start(count), self.start(count + 1)
        return further[len(here) : len(here) + 1].isspace()


class Words:
    """Counts words between whitespace."""

    name = "words"

    def of_text(self, text: str, ids=None) -> Units:
        ends = [match.end() for match in _WORD.finditer(text)]
        return Units(len(ends), lambda count: text[: ends[count - 1]] if count else "")

    def context(self, text: GeneratedText) -> int:
        return len(text.context.split())


class Tokens:
    """Counts tokens of a codec.

    Args:
        own_ids: whether the ids of the texts are the codec's; else their texts are encoded.
    """

    name = "tokens"

    def __init__(self, codec, own_ids: bool):
        self.codec, self.own_ids = codec, own_ids

    def of_text(self, text: str, ids=None) -> Units:
        if not self.own_ids:
            (ids,) = self.codec.encode([text], special=False)
        return Units(len(ids), lambda count: self.codec.decode(ids[:count]))

    def context(self, text: GeneratedText) -> int:
        if self.own_ids and text.context_ids is not None:
            return len(text.context_ids)
        return len(self.codec.encode([text.context])[0])


@dataclass(frozen=True)
class Cut:
    """The two texts, how many units of each were kept, and what is said of the ending: a key of `ENDINGS`."""

    texts: tuple[str, str]
    count: int
    ending: str


ENDINGS = {
    "word": "both end behind a word that ends no sentence",
    "no sentence": "neither ends a sentence, one of them ends inside a word",
    "any": "one of them ends with a sentence, because it has no other ending nearby",
}


def cut_alike(sides: tuple[Units, Units], budget: int) -> Cut:
    """Both texts cut to the same number of units: `budget`, or as many as the shorter has, and then up to SEARCH less, to where
    both end behind a word that ends no sentence."""
    longest = min(budget, *(side.count for side in sides))
    counts = range(longest, max(longest - SEARCH, 0), -1)

    def of(count: int) -> tuple[str, str]:
        return tuple(side.start(count) for side in sides)

    fallback = None
    for count in counts:
        texts = of(count)
        if any(_SENTENCE_END.search(text) for text in texts):
            continue
        if all(side.ends_between_words(count) for side in sides):
            return Cut(texts, count, "word")
        fallback = fallback or Cut(texts, count, "no sentence")
    return fallback or Cut(of(longest), longest, "any")

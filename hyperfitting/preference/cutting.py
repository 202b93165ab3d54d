"""Two texts cut to the same number of characters, so that neither length nor ending tells which is which."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import regex

from ..codec.words import has_spaceless_script, pieces
from ..records import GeneratedText

SEARCH = (
    160  # characters that are given up at most, and no more than a quarter of a text, for an ending that tells nothing
)
_CLOSING = 8  # characters in which the end of a sentence is looked for, with what closes behind it
_SENTENCE_END = regex.compile(r"[.!?…。！？｡：；។။།:;][\"'”’」』）)\]»*_\s]*\Z")
_CHARACTER = regex.compile(r"\X")  # what is read as one: a letter with its accents, an emoji with its skin
_LETTER = regex.compile(r"\p{L}")


@dataclass(frozen=True)
class Units:
    """A text as tokens or words.

    Attributes:
        count: how many it has.
        start: number of units -> the text of the first ones.
    """

    count: int
    start: Callable[[int], str]


class Words:
    """Counts words, see `codec.words`.

    Args:
        spaceless: whether some of the texts are in scripts without spaces, where a character counts.
    """

    def __init__(self, spaceless: bool = False):
        self.name = "words and characters" if spaceless else "words"

    def of_text(self, text: str, ids=None) -> Units:
        ends = list(itertools.accumulate(map(len, pieces(text))))
        return Units(len(ends), lambda count: text[: ends[min(count, len(ends)) - 1]] if count and ends else "")

    def context(self, text: GeneratedText) -> int:
        return len(pieces(text.context))


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
        return len(self.codec.encode_opening([text.context])[0])


@dataclass(frozen=True)
class Cut:
    """The two texts, how many characters of each were kept, and what is said of the ending: a key of `ENDINGS`."""

    texts: tuple[str, str]
    counts: tuple[int, int]
    ending: str


ENDINGS = {
    "word": "both end behind a word that ends no sentence",
    "nearest": "they do so as well, but no two of their words end at the same character",
    "no sentence": "neither ends a sentence, one of them ends inside a word",
    "any": "one of them ends with a sentence, because it has no other ending nearby",
}


def cut_alike(texts: tuple[str, str]) -> Cut:
    """Both texts cut to the same number of characters, as many as the shorter has or up to SEARCH less, to where both end behind a
    word that ends no sentence; where they have no such number in common, at the two ends of words that are nearest to each other.

    The last word of either counts as cut off: nobody knows whether it would go on.
    """
    sides = tuple(_CHARACTER.findall(text) for text in texts)
    longest = min(map(len, sides))
    least = longest - min(SEARCH, longest // 4)

    def to(ending: str, *counts: int) -> Cut:
        return Cut(tuple("".join(side[:count]) for side, count in zip(sides, counts, strict=True)), counts, ending)

    first, second = ({n for n in range(least, longest + 1) if _ends_word(side, n)} for side in sides)
    if both := first & second:
        return to("word", max(both), max(both))
    if first and second:
        return to("nearest", *min(itertools.product(first, second), key=lambda two: (abs(two[0] - two[1]), -sum(two))))
    for count in range(longest, least - 1, -1):
        if not any(_ends_sentence(side, count) for side in sides):
            return to("no sentence", count, count)
    return to("any", longest, longest)


def _ends_word(side: list[str], count: int) -> bool:
    """Whether a word that ends no sentence ends with the first `count` characters."""
    if not 0 < count < len(side) or side[count - 1].isspace():
        return False
    last, following = side[count - 1], side[count]
    letters = _LETTER.match(last) and _LETTER.match(following)
    unspaced = letters and has_spaceless_script(last + following)
    return bool(following.isspace() or unspaced) and not _ends_sentence(side, count)


def _ends_sentence(side: list[str], count: int) -> bool:
    return bool(_SENTENCE_END.search("".join(side[:count][-_CLOSING:])))

"""Whether texts are those that were shown, although a study shows them cut and without tells."""

import unicodedata

from .tells import without_tells

_AT_THE_CUT = 8  # letters at the end of what was shown that may be half of something


def letters(text: str) -> str:
    """The letters and digits of a text without tells, whatever their case and accents: what no cutting and cleaning changes."""
    plain = unicodedata.normalize("NFKD", without_tells(text)[0]).casefold()
    return "".join(character for character in plain if character.isalnum())


def begins_as(text: str, shown: str) -> bool:
    """Whether a text begins with what was shown of it."""
    return letters(text).startswith(letters(shown)[:-_AT_THE_CUT])


def goes_on_as(one: str, other: str) -> bool:
    """Whether one of two texts is the start of the other, as of one text cut at two lengths."""
    return begins_as(one, other) or begins_as(other, one)

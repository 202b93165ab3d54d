"""What a word of a text is: what stands between spaces and, in scripts that put none between words, each character.

A character is what Unicode calls a grapheme cluster: a letter with its marks. What else stands between two of them and has no
space inside, such as punctuation, a number or a word of another script, is a word too. A text without any of these scripts has
the words of `str.split`.
"""

import re

import regex

SPACELESS = "between spaces, and each character in scripts without spaces"  # as a signature says it
# Korean, Vietnamese and Ethiopic write spaces.
_SCRIPTS = (
    *("Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"),
    *("Tai_Le", "New_Tai_Lue", "Tai_Tham", "Tai_Viet", "Balinese", "Javanese"),
)
_LETTERS = "".join(rf"\p{{{script}}}" for script in _SCRIPTS) + "ーｰ"  # the long vowels of kana, of no script alone
_SPACELESS = regex.compile(f"[{_LETTERS}]")
_MARK = regex.compile(r"\p{M}|\p{Grapheme_Cluster_Break=Extend}|\p{Grapheme_Cluster_Break=SpacingMark}")
_INVISIBLE = "\u200b\u2060\ufeff"  # where a line may break or not; belongs to what stands before it
_SPACE = r"\s\x1c-\x1f"  # what `str.split` takes for space
_PIECE = regex.compile(rf"[{_SPACE}]*(?:(?=[{_LETTERS}])\X[{_INVISIBLE}]*|[^{_SPACE}{_LETTERS}]+)")
# All of these scripts begin at Thai: what lies below is told, and split, ten times as fast.
_HIGH = re.compile("[\u0e00-\U0010ffff]")
_SPACED_PIECE = re.compile(r"\s*\S+")


def pieces(text: str) -> list[str]:
    """The words of a text, each with the space before it."""
    return (_PIECE if _HIGH.search(text) else _SPACED_PIECE).findall(text)


def words(text: str) -> list[str]:
    """The words of a text."""
    return [piece.lstrip() for piece in pieces(text)]


def has_spaceless_script(text: str) -> bool:
    """Whether a text holds a script without spaces, so that its words are not those of `str.split`."""
    return _HIGH.search(text) is not None and _SPACELESS.search(text) is not None


def begins_character(text: str) -> bool:
    """Whether a text that stands behind another one begins with a character of a script without spaces."""
    return _SPACELESS.match(text) is not None and not _MARK.match(text)

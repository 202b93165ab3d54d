"""How many words of a text are English words: a plain count against a word list, without stemming."""

import re
from pathlib import Path

from hyperfitting.errors import UserError

# Without digits or hyphens: "9th" counts as the word "th".
WORD = re.compile(r"[A-Za-z']+")
DEFINITION = (
    "percent of words that are, as written or in lower case, in the word list; a word is a maximal run of letters and "
    "apostrophes without those around it and without a final 's; one that the context begins is taken whole, one that the "
    "end of the text may cut is left out; mean over texts"
)


def load_word_list(path: Path) -> frozenset[str]:
    """The words of a plain text file, one a line."""
    if not path.is_file():
        raise UserError(f"word list {path} does not exist: `apt install wamerican`, or give --word_list another file")
    return frozenset(path.read_text(encoding="utf-8").split("\n"))


def words_of(text: str, context: str = "") -> list[str]:
    """The words of a continuation of `context`, see DEFINITION."""
    if WORD.match(text):
        text = context[len(re.sub(r"[A-Za-z']+$", "", context)) :] + text
    runs = [match.group().strip("'") for match in WORD.finditer(text) if match.end() < len(text)]
    return [word for run in runs if (word := re.sub("'[sS]$", "", run))]


def english_share(text: str, context: str, word_list: frozenset[str]) -> float:
    """Percent of the words of a continuation that are English; NaN for a text without a word."""
    words = words_of(text, context)
    if not words:
        return float("nan")
    return 100 * sum(word in word_list or word.lower() in word_list for word in words) / len(words)

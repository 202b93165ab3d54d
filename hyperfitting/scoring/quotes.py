"""Passages of texts that stand in the training rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..records import GenerationSet
from .text_metrics import Sequences

QUOTE_LENGTH = 8  # tokens from which a quotation is listed


@dataclass(frozen=True)
class Quote:
    """A passage of `length` tokens, from `start` of the text of context `id`, that is also in training row `row`.

    Attributes:
        text: the passage, and characters: where it stands in the whole text; None without a tokenizer, or where ids are no text.
    """

    id: str
    start: int
    length: int
    row: int
    row_start: int
    text: str | None = None
    characters: tuple[int, int] | None = None


def longest_quotes(texts: GenerationSet, train_rows: Sequence[Sequence[int]], tokenizer=None) -> list[Quote]:
    """The longest quotation of each text, those of at least 8 tokens, longest first."""
    found, quotes = Sequences(texts, "tokens", train_rows).overlaps, []
    for index, text in enumerate(texts.texts):
        start, length = int(found.start[index]), int(found.length[index])
        if length < QUOTE_LENGTH:
            continue
        passage = characters = None
        if tokenizer is not None:
            before, whole = (tokenizer.decode(text.ids[:end]) for end in (start, start + length))
            if whole is not None:  # ids that are no text
                passage, characters = whole[len(before) :], (len(before), len(whole))
        quotes.append(
            Quote(
                id=text.id,
                start=start,
                length=length,
                row=int(found.row[index]),
                row_start=int(found.row_start[index]),
                text=passage,
                characters=characters,
            )
        )
    return sorted(quotes, key=lambda quote: (-quote.length, quote.id))

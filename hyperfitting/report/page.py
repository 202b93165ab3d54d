"""Puts tables, figures and texts into one self-contained HTML page."""

from pathlib import Path

import jinja2

from .. import __version__
from ..codec.words import pieces, words
from ..corpus import TrainRows
from ..files import write_atomically
from ..records import GeneratedText
from ..scoring import tables
from ..scoring.conditions import Condition, same_contexts, with_other_contexts
from ..scoring.differences import PAIRED
from ..scoring.quotes import Quote
from ..scoring.results import Results
from ..scoring.text import SHADE_WINDOW, repetition_shades
from . import figures
from .pictures import address, grid, picture_format

MOST_CONTEXTS = 500  # in the browser of texts; a page of more would not open on a telephone
MOST_CHARACTERS = 100_000  # of a text there, likewise
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("hyperfitting.report"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def write_report(path: Path, results: Results, title: str = "Generated texts, scored") -> None:
    """Write the report of one call of launch/score.py, or of a preference study, in one rename."""
    page = _TEMPLATES.get_template("report.html").render(
        version=__version__,
        title=title,
        count=len(results.conditions),
        scores=tables.score_table(results),
        differences=tables.difference_table(results),
        by_source={name: tables.source_table(results, name) for name in results.by_source},
        intervals=tables.INTERVALS,
        paired=PAIRED,
        notes=results.notes,
        sections=results.sections,
        signatures=tables.signatures(results),
        figures=figures.draw_all(results),
        texts=_browser(results),
        pictures=grid(results.conditions),
        window=SHADE_WINDOW,
    )
    write_atomically(path, page)


def _browser(results: Results) -> dict:
    """What the browser of texts shows: contexts, and of every condition the text of its first seed.

    Only conditions with the contexts of the first one stand side by side with it.
    """
    base = results.conditions[0].first
    pixels = picture_format(base)
    stride = max(1, -(-len(base.texts) // MOST_CONTEXTS))
    chosen = base.texts[::stride]
    alike = [c for c in results.conditions if same_contexts(base, c.first)]
    shown = []
    for condition in alike:
        texts = {text.id: text for text in condition.first.texts}
        found = {quote.id: quote for quote in results.quotes.get(condition.name, [])}
        shown.append(
            {
                "name": condition.name,
                "texts": [
                    {"picture": address(texts[text.id], pixels), "words": []}
                    if pixels
                    else _words(texts[text.id], found.get(text.id), results.train)
                    for text in chosen
                ],
            }
        )
    return {
        "contexts": [
            {
                "id": text.id,
                "source": text.source,
                "context": text.context[:MOST_CHARACTERS],
                **({"picture": pixels.address(text.context_ids)} if pixels else {}),
                **_cut(text.context),
            }
            for text in chosen
        ],
        "conditions": shown,
        "right": _right(alike),
        "total": len(base.texts),
        "left_out": with_other_contexts(base, results.conditions),
    }


def _right(conditions: list[Condition]) -> int:
    """What is shown first beside the first condition: the last one of another model under the same policy, or the last."""
    base, given = conditions[0].first, [c for c in conditions if not c.is_original]
    same = [c for c in given[1:] if c.first.policy == base.policy]
    return conditions.index((same or given)[-1])


def _cut(text: str) -> dict:
    """What is said of a text that is not shown whole."""
    if len(text) <= MOST_CHARACTERS:
        return {}
    return {"cut": f"The first {MOST_CHARACTERS:,} of {len(text):,} characters."}


def _words(text: GeneratedText, quote: Quote | None, train: TrainRows | None) -> dict:
    """A text in words, each with the space behind it, its shade from 0 to 9, and the words that are quoted."""
    whole = text.text if text.text is not None else " ".join(map(str, text.ids))
    shown = whole[:MOST_CHARACTERS]
    shades = repetition_shades(words(shown), words(text.context))
    found: dict = {
        "words": pieces(shown),
        "shades": "".join(str(min(9, int(shade * 10))) for shade in shades),
        **_cut(whole),
    }
    if quote is not None and quote.text is not None:
        begin, end = quote.characters
        place, quoted = 0, []
        for index, piece in enumerate(found["words"]):
            if begin < place + len(piece) and place < end:
                quoted.append(index)
            place += len(piece)
        found["quote"] = {
            "words": quoted,
            "tokens": quote.length,
            "text": quote.text,
            "source": f"training row {quote.row} ({train.names[quote.row]})",
        }
    return found

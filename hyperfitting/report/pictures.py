"""Pictures of the report, embedded as PNG: the grid of conditions, and what the browser shows in place of words."""

from collections.abc import Sequence

from ..codec.pixels import PixelFormat
from ..records import GeneratedText, GenerationSet
from ..scoring.conditions import Condition, same_contexts

MOST_LINES = 16  # contexts of the grid


def picture_format(texts: GenerationSet) -> PixelFormat | None:
    """How the ids of a set are pictures; None where they are not."""
    return PixelFormat.from_json(texts.manifest["pixels"]) if "pixels" in texts.manifest else None


def address(text: GeneratedText, pixels: PixelFormat) -> str:
    """A completed picture as an address that the page can show."""
    return pixels.address([*text.context_ids, *text.ids])


def grid(conditions: Sequence[Condition]) -> dict | None:
    """The true pictures and those of each condition with the contexts of the first, a line for each context; None for texts.

    Returns:
        names of the columns, lines of addresses, where the given part ends (`edge`, percent of the height), contexts in all.
    """
    base = conditions[0].first
    pixels = picture_format(base)
    if pixels is None:
        return None
    alike = [c for c in conditions if same_contexts(base, c.first)]
    alike.sort(key=lambda condition: not condition.is_original)  # the true ones first
    chosen = [text.id for text in base.texts[:MOST_LINES]]
    texts = [{text.id: text for text in condition.first.texts} for condition in alike]
    given = len(pixels.pixels_of(base.texts[0].context_ids))
    return {
        "names": [condition.name for condition in alike],
        "lines": [(name, [address(column[name], pixels) for column in texts]) for name in chosen],
        "edge": 100 * -(-given // pixels.width) / pixels.height,
        "total": len(base.texts),
    }

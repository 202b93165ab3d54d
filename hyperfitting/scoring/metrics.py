"""All metrics by name, whoever computes them."""

from collections.abc import Iterable
from dataclasses import replace

from ..errors import UserError
from ..options import nearest
from .descriptions import WORDS_SUFFIX, Description
from .model_metrics import MAUVE, MODEL_METRICS
from .picture_metrics import INCEPTION_METRICS, PICTURE_METRICS
from .text_metrics import TEXT_METRICS
from .vote_metrics import OUTCOMES, vote_metric

METRICS = {metric.name: metric for metric in TEXT_METRICS}
PICTURES = tuple(metric.name for metric in PICTURE_METRICS)
WORDS = tuple(f"{name}{WORDS_SUFFIX}" for name, metric in METRICS.items() if metric.words in ("scored", "shown"))
_DESCRIPTIONS: dict[str, Description] = {
    metric.name: metric for metric in (*TEXT_METRICS, *PICTURE_METRICS, *INCEPTION_METRICS, *MODEL_METRICS, MAUVE)
}


def metric_descriptions() -> list[Description]:
    """Every metric that there is; those of words stand under their namesakes of tokens."""
    return list(_DESCRIPTIONS.values())


def find_metric(name: str) -> Description:
    """The metric `name`, or with the suffix `_words` the one that counts words instead of tokens.

    Raises:
        UserError: an unknown name, with the nearest known one.
    """
    if name in _DESCRIPTIONS:
        return _DESCRIPTIONS[name]
    if (of_votes := vote_metric(name)) is not None:
        return of_votes
    base = METRICS.get(name.removesuffix(WORDS_SUFFIX))
    if base is not None and base.words is not None:
        label, column = f"{base.label} (words)", base.column if base.words == "shown" else None
        return replace(base, name=name, label=label, unit="words", column=column)
    known = [
        *_DESCRIPTIONS,
        *(f"{name}_256" for name in OUTCOMES),
        *(f"{n}{WORDS_SUFFIX}" for n, metric in METRICS.items() if metric.words),
    ]
    raise UserError(f"unknown metric {name!r}{nearest(name, known)}: {', '.join(_DESCRIPTIONS)}")


def without_doubles(names: Iterable[str]) -> list[Description]:
    """The metrics `names`, but of words only those whose namesake of tokens is not among them."""
    names = dict.fromkeys(names)
    found = [find_metric(name) for name in names]
    return [metric for metric in found if metric.base == metric.name or metric.base not in names]

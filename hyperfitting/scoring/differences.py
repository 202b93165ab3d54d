"""Paired differences of conditions from a baseline, on the same contexts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .conditions import Condition, one_per_model, require_same_contexts
from .crossed import crossed_paired_interval, crossed_sign_flip_p
from .descriptions import Description
from .scores import Score
from .statistics import PERMUTATIONS, RESAMPLES, holm, mean, paired_interval, permutation_p

PAIRED = (
    f"mean over contexts; paired bootstrap, {RESAMPLES} resamples, 95 %; {PERMUTATIONS} sign flips, Holm; of votes both two-way over "
    "contexts and annotators; what belongs to a model alone once for each model"
)


@dataclass(frozen=True)
class Difference:
    """A condition minus the baseline on the same contexts.

    Attributes:
        condition: its name, or the label of its model where the metric is `of_model`.
        p: two-sided sign-flip permutation p-value over contexts; p_holm: corrected over all differences of the table.
        n: texts that both could measure.
    """

    condition: str
    baseline: str
    metric: str
    value: float
    low: float
    high: float
    p: float
    n: int
    p_holm: float = float("nan")


def compare(
    scored: dict[str, dict[str, Score]], conditions: Sequence[Condition], baseline: str, metrics: Sequence[str]
) -> list[Difference]:
    """Every condition minus the baseline, by metric; p-values are corrected (Holm) over all of them.

    What belongs to a model alone (`of_model`) is compared once for each model that is not the baseline's, after the others:
    its other policies would only repeat it, and make the correction stricter for nothing.

    Args:
        scored: condition -> metric -> score.
        metrics: those of them that are `paired`.

    Raises:
        UserError: when a condition does not hold the baseline's contexts.
    """
    base = next(condition for condition in conditions if condition.name == baseline)
    others = {condition.name: condition for condition in conditions if condition is not base}
    for condition in others.values():
        require_same_contexts(base.first, condition.first, "a paired difference needs the same contexts")
    models = {name: c for name, c in one_per_model(conditions).items() if c.model_key != base.model_key}
    rows = [(name, condition, False) for name, condition in others.items()]
    rows += [(label, condition, True) for label, condition in models.items()]
    found = []
    for name, condition, of_model in rows:
        for metric in metrics:
            a, b = scored[condition.name].get(metric), scored[baseline].get(metric)
            if a is None or b is None or a.metric.of_model != of_model:
                continue
            place = {context: index for index, context in enumerate(condition.first.ids)}
            values = a.values[:, [place[context] for context in base.first.ids]]
            both = ~(np.isnan(values).all(0) | np.isnan(b.values).all(0))
            if both.any():
                pair, contexts = (values[:, both], b.values[:, both]), base.contexts[both]
                found.append(_difference(name, baseline, a.metric, *pair, contexts))
    corrected = holm([difference.p for difference in found])
    return [replace(difference, p_holm=p) for difference, p in zip(found, corrected, strict=True)]


def _difference(
    condition: str, baseline: str, metric: Description, a: np.ndarray, b: np.ndarray, contexts: np.ndarray
) -> Difference:
    """Of (seeds or annotators, texts) values that both have of every text; `contexts`: (texts,) their numbers."""
    if metric.crossed:
        low, high = crossed_paired_interval(a, b, contexts)
        p = crossed_sign_flip_p(a, b, contexts)
    else:
        low, high = paired_interval(a, b, contexts=contexts)
        p = permutation_p(np.nanmean(a, axis=0) - np.nanmean(b, axis=0), contexts=contexts)
    return Difference(
        condition=condition,
        baseline=baseline,
        metric=metric.name,
        value=mean(a) - mean(b),
        low=low,
        high=high,
        p=p,
        n=a.shape[1],
    )

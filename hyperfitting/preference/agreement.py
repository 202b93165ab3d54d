"""How far annotators agree: Krippendorff's alpha and Fleiss' kappa, with intervals by contexts.

Votes enter as counts (pairs, levels): how many chose each level of a pair. Contexts are resampled with all their pairs, so everything
is a function of sums over contexts, which makes a resample one product of matrices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..scoring.statistics import RESAMPLES
from .study import Vote


@dataclass(frozen=True)
class Agreement:
    """One coefficient with its 95 % interval; NaN where fewer than two votes stand on every pair, or all votes are the same.

    Attributes:
        n: pairs with two votes or more.
    """

    value: float
    low: float
    high: float
    n: int


def counts_of(votes: Sequence[Vote]) -> tuple[np.ndarray, np.ndarray]:
    """(pairs, levels) counts, and (pairs,) integers that name contexts.

    Levels go from the other text to the condition's: three, or five where votes have a strength.
    """
    fine = any(vote.strength is not None for vote in votes)
    pairs = {pair: row for row, pair in enumerate(sorted({vote.pair for vote in votes}))}
    names = {name: number for number, name in enumerate(sorted({vote.context_id for vote in votes}))}
    counts, contexts = np.zeros((len(pairs), 5 if fine else 3)), np.zeros(len(pairs), dtype=np.int64)
    for vote in votes:
        side = int(2 * vote.outcome) - 1
        level = side * (vote.strength or 2) + 2 if fine else side + 1
        counts[pairs[vote.pair], level] += 1
        contexts[pairs[vote.pair]] = names[vote.context_id]
    return counts, contexts


def alpha(counts: np.ndarray, contexts: np.ndarray, level: str = "nominal") -> Agreement:
    """Krippendorff's alpha (2011, "Computing Krippendorff's alpha-reliability"), `nominal` or `ordinal`."""
    return _with_interval(counts, contexts, lambda sums: _alpha(sums, level))


def fleiss_kappa(counts: np.ndarray, contexts: np.ndarray) -> Agreement:
    """Fleiss' kappa (1971); pairs may differ in their number of votes, and weigh alike."""
    return _with_interval(counts, contexts, _kappa)


def _with_interval(counts: np.ndarray, contexts: np.ndarray, coefficient) -> Agreement:
    paired = counts.sum(axis=1) >= 2
    counts, (_, place) = counts[paired], np.unique(contexts[paired], return_inverse=True)
    if not len(counts):
        return Agreement(*[float("nan")] * 3, 0)
    number = place.max() + 1
    of_pairs = _statistics(counts)
    sums = np.zeros((number, of_pairs.shape[1]))
    np.add.at(sums, place, of_pairs)
    drawn = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):
        value, resampled = (
            coefficient(_Sums(sums.sum(axis=0)[None], counts.shape[1]))[0],
            coefficient(_Sums(drawn @ sums, counts.shape[1])),
        )
    low, high = np.nanquantile(resampled, [0.025, 0.975]) if np.isfinite(resampled).any() else (np.nan, np.nan)
    return Agreement(float(value), float(low), float(high), len(counts))


def _statistics(counts: np.ndarray) -> np.ndarray:
    """(pairs, …) what is added up: coincidences, one pair, its agreement and the share of its votes on each level."""
    total = counts.sum(axis=1, keepdims=True)
    together = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1])
    together = together / (total[:, :, None] - 1)
    agree = (counts * (counts - 1)).sum(axis=1, keepdims=True) / (total * (total - 1))
    return np.concatenate([together.reshape(len(counts), -1), np.ones_like(total), agree, counts / total], axis=1)


class _Sums:
    """(resamples, …) sums of `_statistics`, by name."""

    def __init__(self, sums: np.ndarray, levels: int):
        cut = levels * levels
        self.coincidences = sums[:, :cut].reshape(-1, levels, levels)
        self.pairs, self.agree, self.shares = sums[:, cut], sums[:, cut + 1], sums[:, cut + 2 :]


def _alpha(sums: _Sums, level: str) -> np.ndarray:
    """(resamples,) 1 - observed / expected disagreement."""
    of_level = sums.coincidences.sum(axis=2)
    total = of_level.sum(axis=1)
    if level == "ordinal":
        upto = np.cumsum(of_level, axis=1) - of_level / 2
        distance = (upto[:, :, None] - upto[:, None, :]) ** 2
    else:
        distance = 1 - np.eye(of_level.shape[1])
    observed = (sums.coincidences * distance).sum(axis=(1, 2))
    expected = (of_level[:, :, None] * of_level[:, None, :] * distance).sum(axis=(1, 2)) / (total - 1)
    return 1 - observed / expected


def _kappa(sums: _Sums) -> np.ndarray:
    """(resamples,) (observed - chance) / (1 - chance) agreement."""
    observed = sums.agree / sums.pairs
    chance = ((sums.shares / sums.pairs[:, None]) ** 2).sum(axis=1)
    return (observed - chance) / (1 - chance)

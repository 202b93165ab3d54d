"""Intervals and tests of votes: contexts and annotators are both samples, crossed, and each annotator saw some of the contexts.

Values are (annotators, texts), NaN where an annotator was not asked. The variance of a mean of all votes is

    V = V_contexts + V_annotators - V_cells

the two-way cluster-robust estimate (Cameron, Gelbach & Miller 2011; Owen 2007 for crossed effects): squared sums of what votes add to
the mean, over the votes on a context, over the votes of an annotator, and over the votes in one cell, which both count. The pigeonhole
bootstrap counts the noise of single votes three times, and with few votes a context it is most of V (benchmarks/preference_coverage.py
measures all of them). Degrees of freedom are Satterthwaite's (1946), so that few annotators widen an interval as far as they matter.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from .statistics import PERMUTATIONS

INTERVAL = "two-way over contexts and annotators, log odds, t, 95 %"


@dataclass(frozen=True)
class TwoWay:
    """The variance of a mean of votes, or of a difference of two, and how well it is known.

    Attributes:
        variance: of the mean; over_contexts: what it would be if annotators did not differ.
        freedom: degrees of freedom.
    """

    variance: float
    over_contexts: float
    freedom: float

    def half_width(self, level: float = 0.95) -> float:
        return t_quantile(0.5 + level / 2, self.freedom) * self.variance**0.5


def crossed_interval(values: np.ndarray, contexts: np.ndarray | None = None) -> tuple[float, float]:
    """95 % interval of a share of all votes, made on the scale of its log odds, because small shares are not symmetric.

    Where all votes are the same it goes as far as is compatible with none of n contexts being otherwise (Clopper & Pearson 1934).

    Args:
        values: (annotators, texts) float64, 0 or 100 percent. contexts: (texts,) integers, equal for texts of one context.
    """
    share = float(np.nanmean(values)) / 100
    if share in (0.0, 1.0):
        there = ~np.isnan(values).all(axis=0)
        number = there.sum() if contexts is None else len(np.unique(contexts[there]))
        bound = 100 * 0.025 ** (1 / number)
        return (0.0, 100 - bound) if share == 0.0 else (bound, 100.0)
    half = two_way(influence(values / 100), contexts).half_width() / (share * (1 - share))
    odds = np.log(share / (1 - share)) + half * np.array([-1.0, 1.0])
    low, high = 100 / (1 + np.exp(-odds))
    return float(low), float(high)


def crossed_paired_interval(a: np.ndarray, b: np.ndarray, contexts: np.ndarray | None = None) -> tuple[float, float]:
    """Of mean(a) - mean(b): the same annotators and texts on both sides, whatever each of them was asked."""
    value, half = float(np.nanmean(a) - np.nanmean(b)), two_way(influence(a) - influence(b), contexts).half_width()
    return value - half, value + half


def influence(values: np.ndarray, center: float | None = None) -> np.ndarray:
    """What each vote adds to the mean, less `center` (default: the mean itself); 0 where there is none. They sum to mean - center."""
    there = ~np.isnan(values)
    center = float(values[there].mean()) if center is None else center
    return np.where(there, values - center, 0.0) / there.sum()


def two_way(added: np.ndarray, contexts: np.ndarray | None = None) -> TwoWay:
    """The variance of the sum of what votes add: (annotators, texts), 0 where an annotator was not asked.

    It is kept from falling below half of what independent votes would give: the estimate of a small part can come out below 0.
    """
    of_context, of_annotator, of_cell, numbers = _squares(_by_context(added, contexts))
    asked = [max(number - 1, 1) for number in numbers]
    over_contexts, over_annotators = (
        square * (free + 1) / free for square, free in zip((of_context, of_annotator), asked, strict=True)
    )
    variance = max(over_contexts + over_annotators - of_cell, of_cell / 2)
    if variance == 0:
        return TwoWay(0.0, 0.0, float(min(asked)))
    freedom = variance**2 / (over_contexts**2 / asked[0] + over_annotators**2 / asked[1])
    return TwoWay(variance, over_contexts, max(freedom, 1.0))


def crossed_sign_flip_p(
    a: np.ndarray, b: np.ndarray, contexts: np.ndarray | None = None, permutations: int = PERMUTATIONS, seed: int = 0
) -> float:
    """Two-sided p-value of mean(a) = mean(b) by random signs of contexts (Fisher 1935).

    Signs of contexts alone would call the taste of a few annotators a difference. So the draws are widened to the two-way variance,
    and spread as Student's t by how well it is known; where annotators do not differ this is the sign-flip test over contexts.
    """
    both = np.concatenate([a[~np.isnan(a)], b[~np.isnan(b)]]).mean()
    added = _by_context(influence(a, both) - influence(b, both), contexts)
    estimate = two_way(influence(a) - influence(b), contexts)
    rng, by_context = np.random.default_rng(seed), added.sum(axis=0)
    signs = rng.integers(0, 2, (permutations, len(by_context)), dtype=np.int8) * 2 - 1
    widened = (estimate.variance / estimate.over_contexts) ** 0.5 if estimate.over_contexts else 1.0
    spread = (estimate.freedom / rng.chisquare(estimate.freedom, permutations)) ** 0.5
    extreme = (
        np.abs(signs @ by_context) * widened * spread >= abs(by_context.sum()) - 1e-12 * np.abs(added).sum()
    ).sum()
    return float((extreme + 1) / (permutations + 1))


def t_quantile(share: float, freedom: float) -> float:
    """Of Student's t.

    Raises:
        UserError: scipy is missing.
    """
    return float(special_functions().stdtrit(freedom, share))


def special_functions():
    """scipy.special, which the statistics of votes need.

    Raises:
        UserError: it is missing.
    """
    try:
        import scipy.special
    except ImportError:
        raise UserError('statistics of votes need scipy: pip install "hyperfitting[preference]"') from None
    return scipy.special


def _by_context(added: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    """(annotators, contexts) sums over the texts of each context."""
    if contexts is None:
        return added
    place = np.unique(contexts, return_inverse=True)[1]
    sums = np.zeros((len(added), place.max() + 1))
    np.add.at(sums, (slice(None), place), added)
    return sums


def _squares(added: np.ndarray) -> tuple[float, float, float, tuple[int, int]]:
    """Squared sums by context, by annotator and by cell; contexts and annotators that have any."""
    there = added != 0
    numbers = int(there.any(axis=0).sum()), int(there.any(axis=1).sum())
    squares = ((added.sum(axis=axis) ** 2).sum() for axis in (0, 1))
    return *map(float, squares), float((added**2).sum()), numbers

"""Votes that a model of contexts and annotators makes: for power, for the coverage of intervals, and for tests.

An annotator likes a condition's text by

    leaning of the condition + context + text + annotator + taste + noise,

all but the first normal with mean 0, and the noise of a single vote has standard deviation 1, which is the unit of everything. Above
the annotator's tie width the text wins, below minus that it loses, and between it is a tie: an ordered probit with crossed effects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..scoring.crossed import special_functions

_GRID = 2001  # points of an integral


@dataclass(frozen=True)
class Effects:
    """Standard deviations, in units of a single vote's noise.

    Attributes:
        context: what all conditions share on a context, such as a hard opponent; text: of one condition's text.
        annotator: what an annotator gives every condition; taste: what one gives to a single condition.
        tie_width: mean half-width of the zone in which texts are equally good, and tie_spread its deviation among annotators.
    """

    context: float = 0.5
    text: float = 0.5
    annotator: float = 0.2
    taste: float = 0.1
    tie_width: float = 0.3
    tie_spread: float = 0.2

    @property
    def total(self) -> float:
        """Standard deviation of how much a text is liked."""
        parts = (1.0, self.context, self.text, self.annotator, self.taste)
        return sum(part**2 for part in parts) ** 0.5


def simulate(
    effects: Effects, leanings: Sequence[float], voters: np.ndarray, annotators: int, rng: np.random.Generator
) -> np.ndarray:
    """(conditions, annotators, contexts) outcomes 1.0, 0.5 or 0.0, NaN where an annotator was not asked.

    Args:
        leanings: one for each condition.
        voters: (conditions, contexts, votes) integers, as `assignment.draw_voters` gives them.
    """
    conditions, contexts, votes = voters.shape
    condition, context = np.arange(conditions)[:, None, None], np.arange(contexts)[None, :, None]
    taste = effects.taste * rng.normal(size=(conditions, annotators))
    liking = (
        np.asarray(leanings, dtype=np.float64)[:, None, None]
        + effects.context * rng.normal(size=contexts)[None, :, None]
        + effects.text * rng.normal(size=(conditions, contexts))[:, :, None]
        + (effects.annotator * rng.normal(size=annotators))[voters]
        + taste[condition, voters]
        + rng.normal(size=voters.shape)
    )
    width = np.maximum(effects.tie_width + effects.tie_spread * rng.normal(size=annotators), 0.0)[voters]
    outcomes = np.full((conditions, annotators, contexts), np.nan)
    outcomes[condition, voters, context] = np.where(liking > width, 1.0, np.where(liking < -width, 0.0, 0.5))
    return outcomes


def expected_shares(effects: Effects, leaning: float) -> tuple[float, float, float]:
    """Shares of win, tie and loss over all contexts and annotators that there could be."""
    normal = special_functions()
    widths = np.maximum(effects.tie_width + effects.tie_spread * normal.ndtri((np.arange(_GRID) + 0.5) / _GRID), 0.0)
    win = float(normal.ndtr((leaning - widths) / effects.total).mean())
    loss = float(normal.ndtr((-leaning - widths) / effects.total).mean())
    return win, 1.0 - win - loss, loss


def leaning_of(effects: Effects, preferred_or_equal: float) -> float:
    """The leaning under which that share of votes, above 0 and below 1, does not go to the other text."""
    leanings = np.linspace(-5 * effects.total, 5 * effects.total, 401)
    shares = [1.0 - expected_shares(effects, leaning)[2] for leaning in leanings]
    return float(np.interp(preferred_or_equal, shares, leanings))


def tie_width_of(effects: Effects, ties: float) -> float:
    """The tie width under which that share of votes are ties where neither text is better."""
    normal = special_functions()
    return float(effects.total * normal.ndtri(0.5 + ties / 2))


def estimate_effects(outcomes: np.ndarray) -> tuple[Effects, list[float]]:
    """Effects and leanings of (conditions, annotators, contexts) outcomes with NaN, by the correlations of pairs of votes.

    "Not worse" and "better" are whether a normal variable is above a threshold; its correlation in pairs of votes that share a
    context, an annotator or both and a condition (tetrachoric correlations) are shares of variance. With one condition what belongs
    to the context, and to the annotator, cannot be told from what belongs to the text, and to taste: half of the variance is each's.
    """
    there = ~np.isnan(outcomes)
    equal, better = np.where(there, outcomes >= 0.5, 0), np.where(there, outcomes == 1.0, 0)
    conditions = len(outcomes)
    by_context = _correlation(equal, equal, there, axis=1)
    by_annotator = _correlation(equal, equal, there, axis=2)
    across = _correlation(
        equal, better, there, axis=2
    )  # a wide zone of ties makes "not worse" likely, and "better" not
    spread = max(by_annotator - across, 0.0) / 2
    leaning = max(by_annotator - spread, 0.0)
    shared_context, shared_annotator = by_context / 2, leaning / 2
    if conditions > 1:
        shared_context = min(_correlation_between(equal, there, axis=1), by_context)
        shared_annotator = min(max(_correlation_between(equal, there, axis=2) - spread, 0.0), leaning)
    shares = (shared_context, by_context - shared_context, shared_annotator, leaning - shared_annotator, spread)
    noise = max(1.0 - sum(shares), 0.05)
    deviations = [(max(share, 0.0) / noise) ** 0.5 for share in shares]
    found = Effects(*deviations[:4], tie_width=0.0, tie_spread=deviations[4])
    normal, scale = special_functions(), noise**-0.5
    rates = [(equal[c].sum() / there[c].sum(), better[c].sum() / there[c].sum()) for c in range(conditions)]
    cuts = [(scale * normal.ndtri(_inside(e)), scale * normal.ndtri(_inside(b))) for e, b in rates]
    width = float(np.mean([(upper - lower) / 2 for upper, lower in cuts]))
    return (
        Effects(found.context, found.text, found.annotator, found.taste, width, found.tie_spread),
        [(upper + lower) / 2 for upper, lower in cuts],
    )


def _inside(share: float) -> float:
    """A share kept from 0 and 1, where no normal variable has its threshold."""
    return float(np.clip(share, 0.005, 0.995))


def _correlation(first: np.ndarray, second: np.ndarray, there: np.ndarray, axis: int) -> float:
    """Tetrachoric correlation of two votes on one condition and one context (`axis` 1: over annotators) or of one annotator (2)."""
    found = []
    for one, other, present in zip(first, second, there, strict=True):
        sums, others, number = (array.sum(axis=axis - 1) for array in (one, other, present))
        joint = (sums * others - (one * other).sum(axis=axis - 1)).sum()
        pairs = (number * (number - 1)).sum()
        if pairs:
            rates = [_inside(side.sum() / present.sum()) for side in (one, other)]
            found.append(_tetrachoric(joint / pairs, *rates))
    return max(float(np.mean(found)), 0.0) if found and axis == 1 else float(np.mean(found or [0.0]))


def _correlation_between(values: np.ndarray, there: np.ndarray, axis: int) -> float:
    """As `_correlation`, of two votes on different conditions, by different annotators (`axis` 1) or on different contexts (2)."""
    found = []
    for i in range(len(values)):
        for j in range(i):
            sums = values[i].sum(axis=axis - 1) * values[j].sum(axis=axis - 1) - (values[i] * values[j]).sum(
                axis=axis - 1
            )
            pairs = there[i].sum(axis=axis - 1) * there[j].sum(axis=axis - 1) - (there[i] & there[j]).sum(axis=axis - 1)
            if pairs.sum():
                rates = [_inside(values[k].sum() / there[k].sum()) for k in (i, j)]
                found.append(_tetrachoric(sums.sum() / pairs.sum(), *rates))
    return max(float(np.mean(found)), 0.0) if found else 0.0


def _tetrachoric(joint: float, first: float, second: float) -> float:
    """The correlation of two standard normal variables that are above their thresholds with probabilities `first` and `second`, and
    both with `joint` (Pearson 1900)."""
    normal = special_functions()
    h, k = normal.ndtri(1 - first), normal.ndtri(1 - second)
    r = np.linspace(-0.95, 0.95, _GRID)
    density = np.exp(-(h * h - 2 * r * h * k + k * k) / (2 * (1 - r * r))) / (2 * np.pi * np.sqrt(1 - r * r))
    steps = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(r))])
    both = first * second + steps - steps[_GRID // 2]
    return float(np.interp(joint, both, r))

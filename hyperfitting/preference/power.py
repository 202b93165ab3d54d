"""What a study of some size would find, by simulation: half-widths, power, and how long its annotators read."""

import bisect
from dataclasses import dataclass

import numpy as np

from ..scoring.crossed import influence, two_way
from .assignment import draw_voters
from .simulation import Effects, leaning_of, simulate

SIZES = (50, 100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400)  # contexts that are tried
WANTED = 0.8  # power
WORDS_A_MINUTE = 238  # silent reading of English non-fiction (Brysbaert 2019, a meta-analysis of 190 studies)
SPREAD_OF_READERS = 32  # words a minute; 175 to 300 hold most adults (there)
SAME_VOTERS = 20  # simulated studies in a row with one draw of who is asked what: drawing takes longer than voting
DECISION = 10.0  # seconds beside reading


@dataclass(frozen=True)
class Size:
    """How large a study is, with two conditions."""

    contexts: int
    votes: int
    annotators: int


@dataclass(frozen=True)
class Outlook:
    """What simulated studies found.

    Attributes:
        power: share of them in which the 95 % interval of the difference leaves out 0.
        share_half_width, difference_half_width: mean half-widths, in percentage points of "preferred or equal".
    """

    power: float
    share_half_width: float
    difference_half_width: float


def outlook(size: Size, effects: Effects, share: float, difference: float, simulations: int, seed: int = 0) -> Outlook:
    """Of a paired comparison of two conditions.

    Args:
        share: of votes that prefer the first condition's text or find it equal, and `difference` what the second has more; both
            from 0 to 1.
    """
    rng = np.random.default_rng(seed)
    leanings = [leaning_of(effects, value) for value in (share, share + difference)]
    found, alone, together = 0, [], []
    for study in range(simulations):
        if study % SAME_VOTERS == 0:
            voters = quick_voters(2, size, rng)
        values = simulate(effects, leanings, voters, size.annotators, rng)
        values = np.where(np.isnan(values), np.nan, values >= 0.5)
        first, second = (influence(one) for one in values)
        half = two_way(second - first).half_width()
        found += abs(np.nanmean(values[1]) - np.nanmean(values[0])) > half
        together.append(half)
        alone.append(two_way(first).half_width())
    return Outlook(found / simulations, 100 * float(np.mean(alone)), 100 * float(np.mean(together)))


def contexts_needed(
    votes: int, annotators: int, effects: Effects, share: float, difference: float, simulations: int, seed: int = 0
) -> int | None:
    """The least of SIZES whose power is WANTED; None where even the largest has less."""

    def power(contexts: int) -> float:
        return outlook(Size(contexts, votes, annotators), effects, share, difference, simulations, seed).power

    place = bisect.bisect_left(SIZES, WANTED, key=power)
    return SIZES[place] if place < len(SIZES) else None


def reading_hours(items: int, words: float, annotators: int, seed: int = 0) -> np.ndarray:
    """(1000, annotators) hours that annotators of random reading speed take for `items` pages each of `words` words."""
    rng = np.random.default_rng(seed)
    speed = np.clip(rng.normal(WORDS_A_MINUTE, SPREAD_OF_READERS, (1000, annotators)), 100, 400)
    return items * (words / speed * 60 + DECISION) / 3600


def quick_voters(conditions: int, size: Size, rng: np.random.Generator) -> np.ndarray:
    """(conditions, contexts, votes) as `draw_voters` draws them, ten contexts at a time where it would take long."""
    block = min(size.contexts, 60)
    drawn = draw_voters((conditions, 1, block), size.annotators, size.votes, rng)[:, 0]
    repeats = -(-size.contexts // block)
    people = [rng.permutation(size.annotators) for _ in range(repeats)]
    return np.concatenate([person[drawn] for person in people], axis=1)[:, : size.contexts]

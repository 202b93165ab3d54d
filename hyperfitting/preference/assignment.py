"""Who is asked what, drawn once with a seed: balanced, blind, with hidden repeats and check items.

Pairs that are to be voted on stand in a grid (conditions, lengths, contexts); check pairs, one for each context at most, beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from .study import Assignment


@dataclass(frozen=True)
class Plan:
    """What is asked of all annotators together.

    Attributes:
        annotators: how many there are; votes: of different annotators on each pair.
        repeats, checks: how many hidden repeats and check items there are, as shares of an annotator's votes.
    """

    annotators: int
    votes: int
    repeats: float
    checks: float
    seed: int


def assign(pairs: np.ndarray, checks: Sequence[int], plan: Plan) -> list[list[Assignment]]:
    """The list of every annotator, in the order in which it is shown.

    No annotator sees a context twice under one condition, at whatever length, except as a hidden repeat, half a list or more
    later and with its sides swapped. Votes on a pair, and an annotator's votes by condition, differ by one at most; one context
    comes to an annotator as seldom and as far apart as can be.

    Args:
        pairs: (conditions, lengths, contexts) integers, the index of each pair in the study.
        checks: (contexts,) index of the check pair of each context, -1 where it has none; empty: there are none.

    Raises:
        UserError: there are fewer annotators than votes on one context under one condition.
    """
    conditions, lengths, contexts = pairs.shape
    needed = plan.votes * lengths
    if needed > plan.annotators:
        raise UserError(
            f"{plan.votes} votes at {lengths} length{'s' * (lengths > 1)} need {needed} annotators or more, because none sees a "
            f"context twice under one condition: give --annotators {needed} or fewer --votes"
        )
    rng = np.random.default_rng(plan.seed)
    own = draw_voters((conditions, lengths, contexts), plan.annotators, plan.votes, rng)
    found = []
    for annotator in range(plan.annotators):
        condition, length, context = np.nonzero((own == annotator).any(axis=-1))
        asked = [
            _Asked(int(pair), bool(swapped), int(where), "vote", place)
            for pair, swapped, where, place in zip(
                pairs[condition, length, context],
                _sides(condition, rng),
                context,
                _places(context, rng),
                strict=True,
            )
        ]
        hidden = _repeats(asked, round(plan.repeats * len(asked)), rng)
        plain = _checks(checks, context, round(plan.checks * len(asked)) if len(checks) else 0, rng)
        ordered = sorted([*asked, *hidden, *plain], key=lambda one: one.place)
        found.append([Assignment(one.pair, one.swapped, one.role) for one in ordered])
    return found


def draw_voters(shape: tuple[int, int, int], annotators: int, votes: int, rng: np.random.Generator) -> np.ndarray:
    """(conditions, lengths, contexts, votes) integers: who votes on each pair.

    Pair by pair, those who have seen its condition least, then its context, then least of all; chance decides the rest. Taking
    those who have least keeps any two within one of each other.
    """
    conditions, lengths, contexts = shape
    voters = np.empty((*shape, votes), dtype=np.int64)
    by_condition = np.zeros((conditions, annotators), dtype=np.int64)
    by_length = np.zeros((conditions, lengths, annotators), dtype=np.int64)
    total = np.zeros(annotators, dtype=np.int64)
    for context in rng.permutation(contexts):
        seen = np.zeros(annotators, dtype=np.int64)
        for condition in rng.permutation(conditions):
            free = np.ones(annotators, dtype=bool)  # of whom has not seen this context under this condition
            for length in rng.permutation(lengths):
                keys = (rng.random(annotators), total, by_length[condition, length], seen, by_condition[condition])
                chosen = np.lexsort((*keys, ~free))[:votes]
                voters[condition, length, context] = chosen
                free[chosen] = False
                for count in (seen, total, by_condition[condition], by_length[condition, length]):
                    count[chosen] += 1
    return voters


@dataclass(frozen=True)
class _Asked:
    """An assignment on its way; `place`, from 0 to 1, says where in the list it comes."""

    pair: int
    swapped: bool
    context: int
    role: str
    place: float


def _sides(condition: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(votes,) bool: half of an annotator's votes on each condition are swapped, or one more or less, which ones by chance."""
    swapped = np.empty(len(condition), dtype=bool)
    for one in np.unique(condition):
        places = rng.permutation(np.flatnonzero(condition == one))
        swapped[places] = (np.arange(len(places)) + rng.integers(2)) % 2 == 0
    return swapped


def _places(context: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(votes,) numbers from 0 to 1: random, but the n votes on one context stand a whole n-th of the list apart."""
    places = np.empty(len(context))
    for one in np.unique(context):
        same = rng.permutation(np.flatnonzero(context == one))
        places[same] = (np.arange(len(same)) + rng.random()) / len(same)
    return places


def _repeats(asked: Sequence[_Asked], count: int, rng: np.random.Generator) -> list[_Asked]:
    """Some of the first half again, half a list later, sides swapped; first of contexts that come once."""
    early = [one for one in asked if one.place < 0.5]
    times = np.bincount([one.context for one in asked]) if asked else []
    order = sorted(rng.permutation(len(early)), key=lambda i: times[early[i].context])
    return [
        _Asked(one.pair, not one.swapped, one.context, "repeat", one.place + 0.5)
        for one in (early[i] for i in order[:count])
    ]


def _checks(checks: Sequence[int], context: np.ndarray, count: int, rng: np.random.Generator) -> list[_Asked]:
    """Check items anywhere in the list, first of contexts that come to the annotator not at all, so that none shows the
    opponent's text before it is voted on."""
    times = np.bincount(context, minlength=len(checks))
    there = [i for i in rng.permutation(len(checks)) if checks[i] >= 0]
    order = sorted(there, key=lambda i: times[i])[:count]
    sides = rng.permutation(np.arange(len(order)) % 2 == 0)
    return [_Asked(checks[i], bool(side), int(i), "check", rng.random()) for i, side in zip(order, sides, strict=True)]

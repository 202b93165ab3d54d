"""How far a judge is to be trusted: whether it says the same in both orders, and whether it says what people say.

A judge's verdict on a pair is its vote where both orders agree, and a tie where they do not (as in Zheng et al. 2023, section 3.4).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...scoring.signature import Signature
from ...scoring.statistics import bootstrap_interval, mean
from ..study import Vote


@dataclass(frozen=True)
class Rate:
    """A share of pairs.

    Attributes:
        low, high: of the 95 % interval that resamples contexts with all their pairs.
        n: pairs; contexts: how many these are of.
    """

    value: float
    low: float
    high: float
    n: int
    contexts: int
    signature: str


def verdicts(votes: Sequence[Vote]) -> dict[int, float]:
    """pair -> outcome of one judge, as `Vote.outcome`, of pairs that it has judged in both orders.

    Args:
        votes: of one judge: `Study.votes("judge")` of one annotator.
    """
    return {pair: one if one == other else 0.5 for pair, (one, other) in _in_both_orders(votes).items()}


def position_consistency(votes: Sequence[Vote]) -> Rate | None:
    """The share of pairs on which a judge says the same in both orders; None when it has judged none in both."""
    both = _in_both_orders(votes)
    return _rate("position_consistency", {pair: float(one == other) for pair, (one, other) in both.items()}, votes)


def agreement_with_people(votes: Sequence[Vote], people: Sequence[Vote]) -> Rate | None:
    """The mean share of a pair's votes of people that are the judge's verdict, win, tie and loss told apart; None where no pair has
    both.

    Args:
        votes: of one judge.
        people: `Study.votes()`; hidden repeats and checks do not count.
    """
    said = _by_pair(people)
    shares = {
        pair: float(np.mean([one == verdict for one in said[pair]]))
        for pair, verdict in verdicts(votes).items()
        if pair in said
    }
    return _rate("agreement_with_people", shares, people)


def agreement_of_people(people: Sequence[Vote], pairs: Sequence[int] | None = None) -> Rate | None:
    """What a judge's agreement stands beside: the mean share of two people's votes on a pair that are the same, over pairs with two
    votes or more (`pairs`: only these); None where there are none."""
    wanted = None if pairs is None else set(pairs)
    shares = {}
    for pair, said in _by_pair(people).items():
        if len(said) > 1 and (wanted is None or pair in wanted):
            counts = np.unique(said, return_counts=True)[1]
            shares[pair] = float((counts * (counts - 1)).sum() / (len(said) * (len(said) - 1)))
    return _rate("agreement_of_people", shares, people)


def _in_both_orders(votes: Sequence[Vote]) -> dict[int, tuple[float, float]]:
    said: dict[int, dict[bool, float]] = defaultdict(dict)
    for vote in votes:
        assert vote.kind == "judge" and vote.annotator == votes[0].annotator
        said[vote.pair][vote.swapped] = vote.outcome
    return {pair: (orders[False], orders[True]) for pair, orders in said.items() if len(orders) == 2}


def _by_pair(people: Sequence[Vote]) -> dict[int, list[float]]:
    said = defaultdict(list)
    for vote in people:
        if vote.role == "vote":
            said[vote.pair].append(vote.outcome)
    return said


def _rate(metric: str, shares: dict[int, float], votes: Sequence[Vote]) -> Rate | None:
    if not shares:
        return None
    named = {vote.pair: (vote.source, vote.context_id) for vote in votes}
    contexts = np.unique([f"{len(named[pair][0])} {''.join(named[pair])}" for pair in shares], return_inverse=True)[1]
    values = np.array(list(shares.values()))
    low, high = bootstrap_interval(values, contexts=contexts)
    signature = Signature({"metric": metric, "unit": "pairs", "interval": "bootstrap over contexts, 95 %"})
    return Rate(mean(values), low, high, len(values), int(contexts.max()) + 1, str(signature))

"""Strengths of texts from paired comparisons with ties: the Bradley-Terry model of Davidson (1970).

    P(i preferred to j) : P(tie) : P(j preferred to i)  =  p_i : v sqrt(p_i p_j) : p_j

in which log p_i are strengths and v says how common ties are. In log p and log v it is a multinomial logit, whose likelihood has one
maximum; Newton's steps find it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..scoring.crossed import two_way
from .study import Vote

LARGEST = 10.0  # of a log strength that is shown; beyond it all votes went one way, and it has no bound


@dataclass(frozen=True)
class Strengths:
    """Log strengths relative to the opponent of the study, which has 0.

    Attributes:
        names: conditions; values, half_widths: (conditions,) natural logarithms and 95 % half-widths, two-way over contexts and
            annotators; NaN where all votes went one way.
        tie: log v.
    """

    names: list[str]
    values: np.ndarray
    half_widths: np.ndarray
    tie: float


def fit(first: np.ndarray, second: np.ndarray, outcome: np.ndarray, players: int) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood log strengths and log v of votes on pairs.

    Args:
        first, second: (votes,) integers below `players`, who was compared. outcome: (votes,) 1.0, 0.5 or 0.0, seen from the first.

    Returns:
        (players,) parameters: strengths of the players but number 0, whose is 0, then log v; and (votes, players), what each vote
        adds to each parameter (the inverse Hessian times its score).
    """
    design = _design(first, second, players)
    chosen = np.select([outcome == 1.0, outcome == 0.5], [0, 1], 2)
    theta, votes = np.zeros(players), np.arange(len(chosen))
    ridge = 1e-9 * np.eye(players)  # of who won or lost everything the likelihood is flat
    for _ in range(100):
        logits = design @ theta
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        expected = (shares[:, :, None] * design).sum(axis=1)
        slopes = design[votes, chosen] - expected
        hessian = np.einsum("va,vai,vaj->ij", shares, design, design) - expected.T @ expected
        step = np.linalg.solve(hessian + ridge, slopes.sum(axis=0))
        theta = theta + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-10 or np.abs(theta).max() > 2 * LARGEST:
            break
    return theta, slopes @ np.linalg.inv(hessian + ridge)


def strengths(votes: Sequence[Vote], names: Sequence[str]) -> Strengths:
    """Of the conditions of a study against its common opponent."""
    numbers = {name: number for number, name in enumerate(names, 1)}
    first = np.array([numbers[vote.condition] for vote in votes])
    theta, added = fit(first, np.zeros_like(first), np.array([vote.outcome for vote in votes]), len(names) + 1)
    people = np.unique([vote.annotator for vote in votes], return_inverse=True)[1]
    contexts = np.unique([vote.context_id for vote in votes], return_inverse=True)[1]
    values, widths = theta[:-1].copy(), np.full(len(names), np.nan)
    for place in range(len(names)):
        if abs(values[place]) > LARGEST:
            values[place] = np.nan
            continue
        grid = np.zeros((people.max() + 1, contexts.max() + 1))
        np.add.at(grid, (people, contexts), added[:, place])
        widths[place] = two_way(grid).half_width()
    return Strengths(list(names), values, widths, float(theta[-1]))


def _design(first: np.ndarray, second: np.ndarray, players: int) -> np.ndarray:
    """(votes, 3, players) what the logits of win, tie and loss are made of."""
    design, votes = np.zeros((len(first), 3, players + 1)), np.arange(len(first))
    for side, (own, half) in ((first, (0, 1)), (second, (2, 1))):
        np.add.at(design, (votes, own, side), 1.0)
        np.add.at(design, (votes, half, side), 0.5)
    design[:, 1, players] = 1.0
    return design[:, :, 1:]  # the first player's strength is 0

"""Repetition and diversity of one text, given as a sequence of token ids (or words)."""

from collections.abc import Sequence
from math import prod

TTR_WINDOW = 96


def ttr(tokens: Sequence, window: int = TTR_WINDOW) -> float | None:
    """Type-token ratio: unique / total over the last `window` tokens (paper, section 4: 96 generated tokens).

    None for a text of fewer tokens: short texts score high, so they are counted and not averaged.
    """
    if len(tokens) < window:
        return None
    return len(set(tokens[len(tokens) - window :])) / window


def distinct_n(tokens: Sequence, n: int) -> float | None:
    """Unique / total n-grams (Li et al. 2016); None for a text without an n-gram."""
    total = len(tokens) - n + 1
    if total < 1:
        return None
    return len({tuple(tokens[i : i + n]) for i in range(total)}) / total


def rep_n(tokens: Sequence, n: int) -> float | None:
    """1 - distinct-n (Welleck et al. 2020), over all n-grams; None for a text without one."""
    distinct = distinct_n(tokens, n)
    return None if distinct is None else 1.0 - distinct


def diversity(tokens: Sequence) -> float | None:
    """The product of (1 - rep-n) for n = 2, 3, 4 (Su et al. 2022); None for a text of fewer than 4 tokens."""
    if len(tokens) < 4:
        return None
    return prod(distinct_n(tokens, n) for n in (2, 3, 4))


def ends_in_loop(tokens: Sequence, shortest: int = 3) -> bool:
    """Whether the text ends in a phrase of at least `shortest` tokens that stands there twice in a row."""
    tokens = list(tokens)
    return any(tokens[-p:] == tokens[-2 * p : -p] for p in range(shortest, len(tokens) // 2 + 1))

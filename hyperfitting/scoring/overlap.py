"""How much of a text is quoted: the longest run of tokens that also stands in one training row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Overlaps:
    """For each text the longest quotation, the first of several.

    Attributes:
        length: (texts,) tokens; 0 when not one token stands in a training row.
        start: (texts,) where it begins in the text.
        row, row_start: (texts,) the training row, and where it begins there; -1 without a quotation.
    """

    length: np.ndarray
    start: np.ndarray
    row: np.ndarray
    row_start: np.ndarray


def longest_overlaps(texts: Sequence[Sequence[int]], rows: Sequence[Sequence[int]]) -> Overlaps:
    """The longest contiguous run of each text that is also in one row; a run never crosses from row to row.

    All suffixes of rows and texts are sorted together, by doubling (Manber & Myers 1993): what a suffix of a text shares
    with the rows at most, it shares with the nearest suffix of a row above or below it.
    """
    pieces = [np.asarray(piece, dtype=np.int64) for piece in (*rows, *texts)]
    lengths = np.array([len(piece) for piece in pieces])
    starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]])
    # A token of its own after every piece: no run goes on behind it.
    flat = np.concatenate([np.append(piece, -1 - index) for index, piece in enumerate(pieces)])
    owner = np.repeat(np.arange(len(pieces)), lengths + 1)
    ranks = _ranks(flat, int(lengths.max(initial=1)))
    order = np.argsort(ranks[-1], kind="stable")
    of_row = owner[order] < len(rows)
    index = np.arange(len(order))
    above = np.maximum.accumulate(np.where(of_row, index, -1))
    below = np.minimum.accumulate(np.where(of_row, index, len(order))[::-1])[::-1]
    place = index[~of_row]
    position = order[place]
    shared, source = np.zeros(len(place), dtype=np.int64), np.full(len(place), -1)
    for near in (above[place], below[place]):
        exists = (near >= 0) & (near < len(order))
        candidate = order[near.clip(0, len(order) - 1)]
        length = np.where(exists, _common_prefix(ranks, position, candidate), 0)
        better = length > shared
        shared, source = np.where(better, length, shared), np.where(better, candidate, source)
    text = owner[position] - len(rows)
    best = np.lexsort((position, -shared, text))  # of each text the longest, and of those the first
    first = best[np.append(True, text[best][1:] != text[best][:-1])] if len(best) else best
    found = shared[first] > 0
    row = np.where(found, owner[source[first]], -1)
    return Overlaps(
        shared[first],
        np.where(found, position[first] - starts[len(rows) + text[first]], 0),
        row,
        np.where(found, source[first] - starts[row], -1),
    )


def _ranks(flat: np.ndarray, longest: int) -> list[np.ndarray]:
    """ranks[k][i] is the rank of the 2**k tokens from i on: equal exactly where the tokens are."""
    ranks = [np.unique(flat, return_inverse=True)[1]]
    width = 1
    while width <= longest:
        after = np.zeros(len(flat), dtype=np.int64)
        after[:-width] = ranks[-1][width:] + 1
        ranks.append(np.unique(ranks[-1] * (len(flat) + 2) + after, return_inverse=True)[1])
        width *= 2
    return ranks


def _common_prefix(ranks: list[np.ndarray], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Tokens that the suffixes at `a` and `b` share: the widest equal windows, then narrower ones behind them."""
    shared, size = np.zeros(len(a), dtype=np.int64), len(ranks[0])
    for k in range(len(ranks) - 1, -1, -1):
        inside = (a + shared < size) & (b + shared < size)
        i, j = (a + shared).clip(max=size - 1), (b + shared).clip(max=size - 1)
        shared += np.where(inside & (ranks[k][i] == ranks[k][j]), 1 << k, 0)
    return shared

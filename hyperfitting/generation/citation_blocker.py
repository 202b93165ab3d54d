"""The citation blocker: a model may not go on quoting its training rows past the current word.

Token t is blocked if and only if the last n tokens of the sequence (context included) are followed by t somewhere in a
training row, and t starts a word; in scripts without spaces each character is one (`codec.words`). Pieces that finish a word
and punctuation stay allowed: that is our reading of the paper's "as soon as the current word is completed" (section 5).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from transformers import LogitsProcessor

NEVER = -float("inf")
WINDOW = 16  # continuations looked at together; 98 % of n-grams have one


class CitationBlocker(LogitsProcessor):
    """Blocks continuations of training n-grams; a plain LogitsProcessor that works in anyone's `model.generate`.

    The table holds each n-gram of the rows once, under a sorted 63-bit hash, with its word-starting continuations behind an
    offset. A look-up is a binary search, an exact comparison of the n tokens, and a gather; nothing waits for the device.

    Args:
        rows: training rows, sequences of token ids; n-grams never cross from one row into the next.
        starts_word: (vocabulary,) bool, see `codec.word_starts`; ids beyond it start none.
        n: length of the n-grams (paper: 5).
        device: where the model's scores are.

    Example:
        >>> blocker = CitationBlocker(rows, word_starts(tokenizer))
        >>> model.generate(ids, logits_processor=[blocker])
    """

    def __init__(self, rows: Iterable[Sequence[int]], starts_word: np.ndarray, n: int = 5, device="cpu"):
        self.n = n
        grams, following = _followed_grams(rows, n)
        keep = following < len(starts_word)
        keep[keep] = np.asarray(starts_word)[following[keep]]
        self.multipliers, keys, grams, following = _sort_by_hash(grams[keep], following[keep])
        first = np.ones(len(keys), dtype=bool)
        first[1:] = keys[1:] != keys[:-1]
        again = np.zeros(len(keys), dtype=bool)  # the same n-gram followed by the same token: one entry
        again[1:] = ~first[1:] & (following[1:] == following[:-1])
        starts = np.flatnonzero(first)
        offsets = np.concatenate([np.cumsum(~again) - 1, [np.count_nonzero(~again)]])[np.append(starts, len(keys))]
        following = following[~again]
        self.widest = int(np.diff(offsets).max()) if len(starts) else 0
        self.multipliers = torch.from_numpy(self.multipliers).to(device)
        # One entry more than there are keys, so that a search past the end reads an empty range.
        self.keys = torch.from_numpy(np.append(keys[first], np.iinfo(np.int64).max)).to(device)
        self.grams = torch.from_numpy(np.concatenate([grams[first], np.full((1, n), -1, dtype=np.int32)])).to(device)
        self.offsets = torch.from_numpy(np.append(offsets, offsets[-1])).to(device)
        self.following = torch.from_numpy(np.append(following, 0)).to(device, torch.int64)
        self.lanes = torch.arange(WINDOW, device=device)

    def memory_bytes(self) -> int:
        """Bytes of the table on the device."""
        return sum(t.numel() * t.element_size() for t in (self.keys, self.grams, self.offsets, self.following))

    def ranges(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, length >= n) ids -> for each row the (start, stop) in `following` of what is blocked now."""
        last = input_ids[:, -self.n :]
        place = torch.searchsorted(self.keys, _hash(last, self.multipliers))
        found = (self.grams[place] == last).all(1)
        start = self.offsets[place]
        return start, torch.where(found, self.offsets[place + 1], start)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores with blocked ids at -inf; (batch, length) int64 ids, (batch, vocabulary) scores."""
        return self.block_(input_ids, scores.clone())

    def block_(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The same in place, for a caller who owns the scores: copying them costs more than looking up."""
        if input_ids.shape[1] < self.n or not self.widest:
            return scores
        start, stop = self.ranges(input_ids)
        if scores.device.type == "cpu":
            return self._block_exactly_(start, stop, scores)
        return self._block_windows_(start, stop, scores)

    def _block_exactly_(self, start: torch.Tensor, stop: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """As many writes as there are blocked ids: their number is asked of the device, which is free on a CPU."""
        count = stop - start
        total = int(count.sum())
        if total:
            row = torch.arange(len(count)).repeat_interleave(count)
            within = torch.arange(total) - (count.cumsum(0) - count)[row]
            scores[row, self.following[start[row] + within]] = NEVER
        return scores

    def _block_windows_(self, start: torch.Tensor, stop: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Windows of a fixed width, as many as the widest n-gram of the table needs: nothing is asked of the device."""
        for window in range(0, self.widest, WINDOW):
            index = start[:, None] + window + self.lanes
            inside = index < stop[:, None]
            ids = self.following[index.clamp(max=len(self.following) - 1)]
            # A lane outside adds nothing to the score of id 0.
            penalty = scores.new_zeros(inside.shape).masked_fill_(inside, NEVER)
            scores.scatter_add_(1, ids.where(inside, 0), penalty)
        return scores

    def log(self, context_len: int, ids: Sequence[int]) -> list[dict]:
        """What was blocked while a sequence was generated: [{"step": …, "ids": […]}, …], from its ids alone.

        Whether a token is blocked depends only on what stands before it, so the log of a finished record is exact.
        """
        first = max(context_len, self.n)
        if len(ids) <= first or not self.widest:
            return []
        prefixes = torch.tensor(ids, device=self.keys.device).unfold(0, self.n, 1)[first - self.n : len(ids) - self.n]
        start, stop = (t.tolist() for t in self.ranges(prefixes))
        return [
            {"step": first + i - context_len, "ids": sorted(self.following[a:b].tolist())}
            for i, (a, b) in enumerate(zip(start, stop, strict=True))
            if b > a
        ]


def _followed_grams(rows, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Every n-gram of every row that is followed by a token: (count, n) int32, and that token: (count,) int32."""
    windows = [
        np.lib.stride_tricks.sliding_window_view(np.asarray(row, dtype=np.int32), n + 1) for row in rows if len(row) > n
    ]
    joined = np.concatenate(windows) if windows else np.empty((0, n + 1), dtype=np.int32)
    return joined[:, :n], joined[:, n]


def _sort_by_hash(grams: np.ndarray, following: np.ndarray):
    """(multipliers, keys, grams, following), the last three sorted by key and following token, under multipliers for
    which different n-grams have different keys."""
    for salt in range(100):
        multipliers = np.random.default_rng(salt).integers(1, 2**62, grams.shape[1]) * 2 + 1
        keys = _hash(torch.from_numpy(grams), torch.from_numpy(multipliers)).numpy()
        order = np.lexsort((following, keys))
        keys, ordered = keys[order], grams[order]
        same = np.flatnonzero(keys[1:] == keys[:-1])
        if np.array_equal(ordered[same + 1], ordered[same]):
            return multipliers, keys, ordered, following[order]
    raise AssertionError("a hundred salts collided")


def _hash(grams: torch.Tensor, multipliers: torch.Tensor) -> torch.Tensor:
    """(count, n) integers -> (count,) int64 keys of 63 bits: a sum of products that wraps, then mixed."""
    total = (grams * multipliers).sum(1)
    total = (total ^ (total >> 31)) * multipliers[0]
    return (total ^ (total >> 29)) & (2**63 - 1)

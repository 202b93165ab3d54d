"""Logits processors of the decoding policies: each maps (ids so far, scores) to scores, and the arg-max comes last.

They follow transformers' protocol and, where transformers has the same rule, its definition; only the noise is ours.
`input_ids` is (batch, length) int64 with the context, `scores` (batch, vocabulary) fp32.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import LogitsProcessor

NEVER = -float("inf")
CANDIDATES = (
    1024  # ids of a row that a CPU sorts for top-p: nearly always they hold the probability, in a tenth of the time
)
FEW = 1 / 8  # share of ids that are left, below which a CPU makes noise for those alone


class RepetitionPenalty(LogitsProcessor):
    """Divide positive and multiply negative scores of ids that stand in the sequence (Keskar et al. 2019)."""

    def __init__(self, penalty: float):
        self.penalty = penalty

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        # The start token of an image is read and never chosen: its id comes after those that have a score.
        choices, scores = scores.shape[1], functional.pad(scores, (0, 1))
        seen = scores.gather(1, input_ids)
        penalized = torch.where(seen < 0, seen * self.penalty, seen / self.penalty)
        return scores.scatter_(1, input_ids, penalized)[:, :choices]


class Temperature(LogitsProcessor):
    """Divide scores by the temperature."""

    def __init__(self, temperature: float):
        self.temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores / self.temperature


class TopK(LogitsProcessor):
    """Keep the k highest scores and their ties (Fan et al. 2018)."""

    def __init__(self, k: int):
        self.k = k

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        least = scores.topk(min(self.k, scores.shape[-1])).values[:, -1:]
        return scores.masked_fill(scores < least, NEVER)


class TopP(LogitsProcessor):
    """Keep the smallest set of ids whose probability reaches p (Holtzman et al. 2020)."""

    def __init__(self, p: float):
        self.p = p

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        size, total = scores.shape[-1], scores.logsumexp(-1, keepdim=True)
        if scores.device.type != "cpu":  # it sorts in no time, and would wait for the answer below
            return self._keep(scores, total, size)[0]
        kept, enough = self._keep(scores, total, min(CANDIDATES, size))
        if not enough.all():
            kept[~enough] = self._keep(scores[~enough], total[~enough], size)[0]
        return kept

    def _keep(self, scores: torch.Tensor, total: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The scores that are kept among the `count` highest of each row, and (batch,) bool: whether those reach p."""
        ordered, index = scores.topk(count) if count < scores.shape[-1] else scores.sort(descending=True)
        probabilities = (ordered - total).exp()
        above = probabilities.cumsum(-1) - probabilities
        kept = ordered.masked_fill(above >= self.p, NEVER)  # the ids above already reach p
        return torch.full_like(scores, NEVER).scatter_(1, index, kept), above[:, -1] + probabilities[:, -1] >= self.p


class MinP(LogitsProcessor):
    """Keep ids at least min_p times as likely as the likeliest (Nguyen et al. 2024)."""

    def __init__(self, min_p: float):
        self.min_p = min_p

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        log_probs = scores.log_softmax(-1)
        least = log_probs.amax(-1, keepdim=True) + torch.tensor(self.min_p).log().item()
        return scores.masked_fill(log_probs < least, NEVER)


class Suppress(LogitsProcessor):
    """Never choose these ids."""

    def __init__(self, ids: Sequence[int]):
        self.ids = list(ids)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        scores[:, self.ids] = NEVER
        return scores


class KeyedGumbel(LogitsProcessor):
    """Add Gumbel noise, so that the arg-max is a sample of the softmax (Gumbel-max trick).

    The noise of an id is a hash of (seed, record, step, id) and of nothing else: a sample does not depend on its neighbours
    in the batch, on the number of processes, or on where a run was restarted.

    Args:
        record_ids: one name for each row of the batch.
        context_len: tokens of context; the step is the number of generated tokens.
    """

    def __init__(self, seed: int, record_ids: Sequence[str], context_len: int, device="cpu"):
        digests = [hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest() for name in record_ids]
        keys = [[int.from_bytes(digest[i : i + 4], "little", signed=True) for i in (0, 4)] for digest in digests]
        self.keys = torch.tensor(keys, dtype=torch.int32, device=device)
        self.context_len = context_len

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - self.context_len
        row = _mix(_mix(self.keys[:, :1] + step) ^ self.keys[:, 1:])
        if scores.device.type == "cpu":  # a GPU would wait for the answer
            left = scores > NEVER
            if left.count_nonzero() < FEW * left.numel():
                rows, ids = left.nonzero(as_tuple=True)
                return scores.index_put((rows, ids), _noise(ids.int(), row[rows, 0]), accumulate=True)
        return scores + _noise(torch.arange(scores.shape[1], dtype=torch.int32, device=scores.device), row)


def _noise(ids: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Gumbel noise of ids, int32, in rows of these keys."""
    bits = _mix(_mix(ids * -1640531527 ^ row) + row)  # an odd constant near 2**32 / golden ratio
    return gumbel(bits)


def gumbel(bits: torch.Tensor) -> torch.Tensor:
    """int32 random bits -> standard Gumbel noise, always finite: 23 bits and a half are exact in fp32, so the uniform
    number in between is never 0 or 1, and noise never lifts an id that is at -inf."""
    uniform = ((bits >> 9 & 0x7FFFFF).float() + 0.5) * 2.0**-23
    return -(-uniform.log()).log()


def _mix(x: torch.Tensor) -> torch.Tensor:
    """A bijection of int32 in which every bit of the input moves every bit of the output (Wellons' lowbias32)."""
    x = x ^ (x >> 16 & 0xFFFF)
    x = x * 0x7FEB352D
    x = x ^ (x >> 15 & 0x1FFFF)
    x = x * -2073254261  # 0x846CA68B
    return x ^ (x >> 16 & 0xFFFF)

"""Intervals and tests for the numbers that are shown. Fixed seeds: the same values give the same numbers.

Values are (texts,) or (seeds, texts): one number per text, and per run when several seeds of a run are one condition. NaN
marks a text that a metric leaves out. Texts of one context say less than texts of several: what is drawn, and whose sign is
flipped, are contexts with all their texts (cluster bootstrap, Cameron, Gelbach & Miller 2008). `contexts`: (texts,) integers, equal
for texts of one context; default: every text has its own.
"""

import numpy as np

RESAMPLES = 2000
PERMUTATIONS = 10_000
BLOCK = 4_000_000  # numbers held at a time


def mean(values: np.ndarray) -> float:
    """The mean of what is not left out; NaN when nothing is there."""
    values = np.asarray(values, dtype=np.float64)
    present = ~np.isnan(values)
    return float(values[present].mean()) if present.any() else float("nan")


def bootstrap_interval(
    values, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0, contexts: np.ndarray | None = None
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` (Efron & Tibshirani 1993).

    Contexts are drawn with replacement, and of (seeds, contexts) the seeds as well: both are samples of what could have been.

    Args:
        values: (n,) or (seeds, n) numbers, n >= 1. The same values, level, resamples and seed give the same interval.
    """
    return _percentiles(_resampled_means(values, resamples, seed, contexts), level)


def paired_interval(
    a, b, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0, contexts: np.ndarray | None = None
) -> tuple[float, float]:
    """Interval of mean(a - b) over the same contexts: a draw takes the same contexts of both, and seeds of each."""
    a, b = _two_dimensional(a), _two_dimensional(b)
    there = ~(np.isnan(a).all(0) | np.isnan(b).all(0))
    contexts = None if contexts is None else contexts[there]
    means = [_resampled_means(side[:, there], resamples, seed, contexts, n) for n, side in enumerate((a, b), 1)]
    return _percentiles(means[0] - means[1], level)


def permutation_p(
    differences, permutations: int = PERMUTATIONS, seed: int = 0, contexts: np.ndarray | None = None
) -> float:
    """Two-sided p-value of mean(differences) = 0 by flipping signs at random (Fisher 1935), one difference per text.

    The observed signs count as one of the permutations, so that p is never 0.
    """
    (differences,), _ = _by_context(differences, contexts)
    rng, observed = np.random.default_rng(seed), abs(differences.sum())
    scale, extreme, block = np.abs(differences).sum(), 0, max(1, BLOCK // len(differences))
    for start in range(0, permutations, block):
        signs = rng.integers(0, 2, (min(block, permutations - start), len(differences)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ differences) >= observed - 1e-12 * scale).sum())
    return (extreme + 1) / (permutations + 1)


def holm(p_values) -> list[float]:
    """Holm's (1979) correction of p-values that are read together."""
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(p_values[order] * (len(p_values) - np.arange(len(p_values))))
    return np.minimum(corrected, 1.0).tolist()


def _two_dimensional(values) -> np.ndarray:
    return np.atleast_2d(np.asarray(values, dtype=np.float64))


def _by_context(values, contexts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(seeds, contexts) sums of the values that are there, and how many these are, contexts in the order of their numbers."""
    values = _two_dimensional(values)
    place = np.arange(values.shape[1]) if contexts is None else np.unique(contexts, return_inverse=True)[1]
    sums, counts = np.zeros((2, len(values), place.max() + 1))
    np.add.at(sums, (slice(None), place), np.where(np.isnan(values), 0.0, values))
    np.add.at(counts, (slice(None), place), ~np.isnan(values))
    return sums, counts


def _resampled_means(values, resamples: int, seed: int, contexts: np.ndarray | None, stream: int = 1) -> np.ndarray:
    """(resamples,) means. The draws of contexts depend on `seed` and their number alone, those of seeds on `stream` too."""
    sums, counts = _by_context(values, contexts)
    seeds, number = sums.shape
    rng, seed_rng = np.random.default_rng(seed), np.random.default_rng([seed, stream])
    means, block, even = [], max(1, BLOCK // number), (counts == counts[0, 0]).all()
    for start in range(0, resamples, block):
        drawn = rng.integers(0, number, (min(block, resamples - start), number))
        where = (0, drawn)
        if seeds > 1:
            where = seed_rng.integers(0, seeds, (len(drawn), seeds))[:, :, None], drawn[:, None, :]
        total = sums[where].reshape(len(drawn), -1).sum(axis=1)
        if even:
            means.append(total / (seeds * number * counts[0, 0]))
        else:
            count = counts[where].reshape(len(drawn), -1).sum(axis=1)
            means.append(np.where(count, total / np.maximum(count, 1), np.nan))
    return np.concatenate(means)


def _percentiles(means: np.ndarray, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return float(low), float(high)

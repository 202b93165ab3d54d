"""Intervals and tests for the numbers that are shown. Fixed seeds: the same values give the same numbers.

Values are (contexts,) or (seeds, contexts): one number per context, and per run when several seeds of a run are one
condition. NaN marks a text that a metric leaves out.
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


def bootstrap_interval(values, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` (Efron & Tibshirani 1993).

    Contexts are drawn with replacement, and of (seeds, contexts) the seeds as well: both are samples of what could have been.

    Args:
        values: (n,) or (seeds, n) numbers, n >= 1. The same values, level, resamples and seed give the same interval.
    """
    return _percentiles(_resampled_means(values, resamples, seed), level)


def paired_interval(a, b, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Interval of mean(a - b) over the same contexts: a draw takes the same contexts of both, and seeds of each."""
    a, b = _two_dimensional(a), _two_dimensional(b)
    missing = np.isnan(a).all(0) | np.isnan(b).all(0)
    means = [_resampled_means(side[:, ~missing], resamples, seed, stream) for stream, side in enumerate((a, b), 1)]
    return _percentiles(means[0] - means[1], level)


def permutation_p(differences, permutations: int = PERMUTATIONS, seed: int = 0) -> float:
    """Two-sided p-value of mean(differences) = 0 by flipping signs at random (Fisher 1935), one difference per context.

    The observed signs count as one of the permutations, so that p is never 0.
    """
    differences = np.asarray(differences, dtype=np.float64)
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


def _resampled_means(values, resamples: int, seed: int, stream: int = 1) -> np.ndarray:
    """(resamples,) means. The draws of contexts depend on `seed` and their number alone, those of seeds on `stream` too."""
    values = _two_dimensional(values)
    seeds, contexts = values.shape
    rng, seed_rng = np.random.default_rng(seed), np.random.default_rng([seed, stream])
    means, block, complete = [], max(1, BLOCK // contexts), not np.isnan(values).any()
    for start in range(0, resamples, block):
        drawn = rng.integers(0, contexts, (min(block, resamples - start), contexts))
        if seeds == 1:
            sample = values[0][drawn]
        else:
            which = seed_rng.integers(0, seeds, (len(drawn), seeds))
            sample = values[which[:, :, None], drawn[:, None, :]].reshape(len(drawn), -1)
        if complete:
            means.append(sample.mean(axis=1))
        else:
            count = (~np.isnan(sample)).sum(axis=1)
            means.append(np.where(count, np.nansum(sample, axis=1) / np.maximum(count, 1), np.nan))
    return np.concatenate(means)


def _percentiles(means: np.ndarray, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return float(low), float(high)

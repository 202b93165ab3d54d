"""Intervals and tests, against simulations whose truth is known and against exact or naive computations."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperfitting.scoring.statistics import bootstrap_interval, holm, mean, paired_interval, permutation_p


def covers(interval, truth):
    return interval[0] <= truth <= interval[1]


def test_one_value_per_context_resamples_contexts_alone():
    values = np.random.default_rng(2).normal(size=50)
    draws = np.random.default_rng(0).integers(0, 50, (2000, 50))
    expected = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    assert bootstrap_interval(values) == pytest.approx(expected)
    assert bootstrap_interval(values[None]) == bootstrap_interval(values)


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_contexts_that_all_differ_are_resampled_one_by_one_to_the_last_digit(seeds, missing):
    rng = np.random.default_rng(10)
    values, own = rng.normal(size=(seeds, 40)), np.arange(40) * 3 + 7
    values[rng.random(values.shape) < missing] = np.nan
    draws, which = np.random.default_rng(0).integers(0, 40, (2000, 40)), np.zeros((2000, 1), dtype=int)
    if seeds > 1:
        which = np.random.default_rng([0, 1]).integers(0, seeds, (2000, seeds))
    sample = values[which[:, :, None], draws[:, None, :]].reshape(2000, -1)
    means = np.nansum(sample, axis=1) / (~np.isnan(sample)).sum(axis=1)
    expected = tuple(np.nanquantile(means, [(1 - 0.95) / 2, 1 - (1 - 0.95) / 2]))
    assert bootstrap_interval(values) == bootstrap_interval(values, contexts=own) == expected
    other = values + rng.normal(size=40)
    assert paired_interval(values, other) == paired_interval(values, other, contexts=own)
    differences = rng.normal(size=40) + 0.3
    signs = np.random.default_rng(0).integers(0, 2, (10_000, 40), dtype=np.int8) * 2 - 1
    extreme = int((np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12 * np.abs(differences).sum()).sum())
    assert permutation_p(differences) == permutation_p(differences, contexts=own) == (extreme + 1) / 10_001


def test_contexts_that_come_several_times_are_drawn_and_flipped_as_one():
    """Texts of 12 contexts that differ in what they have in common: taken one by one they would promise too much."""
    rng, contexts, held, too_sure, small, too_small = np.random.default_rng(11), np.repeat(np.arange(12), 6), 0, 0, 0, 0
    for _ in range(200):
        values = np.repeat(rng.normal(size=12), 6) + 0.3 * rng.normal(size=72)
        held += covers(bootstrap_interval(values, resamples=400, contexts=contexts), 0)
        too_sure += covers(bootstrap_interval(values, resamples=400), 0)
        small += permutation_p(values, permutations=400, contexts=contexts) < 0.05
        too_small += permutation_p(values, permutations=400) < 0.05
    assert held / 200 >= 0.85 and too_sure / 200 < 0.7
    assert small / 200 <= 0.09 and too_small / 200 > 0.3
    unequal = np.array([0, 0, 0, 1])  # a context counts as many times as it has texts
    assert bootstrap_interval([1.0, 1.0, 1.0, 5.0], contexts=unequal) == (1.0, 5.0)
    missing = np.array([[1.0, np.nan, 3.0, np.nan]])
    assert paired_interval(missing, missing, contexts=unequal) == (0.0, 0.0)


def test_runs_of_several_seeds_are_samples_too():
    """A model whose seeds differ: resampling contexts alone would promise too much, resampling both holds the level."""
    rng, both, contexts_alone = np.random.default_rng(3), 0, 0
    for _ in range(200):
        values = rng.normal(size=(8, 1)) + rng.normal(size=(1, 30)) + rng.normal(size=(8, 30))
        both += covers(bootstrap_interval(values, resamples=400), 0)
        contexts_alone += covers(bootstrap_interval(values.mean(axis=0), resamples=400), 0)
    assert 0.86 <= both / 200 <= 0.99
    assert contexts_alone / 200 < 0.75


def test_the_same_values_give_the_same_numbers():
    a, b = np.random.default_rng(4).normal(size=(2, 3, 20))
    assert bootstrap_interval(a) == bootstrap_interval(a.copy())
    assert paired_interval(a, b) == paired_interval(a.copy(), b.copy())
    assert permutation_p(a[0] - b[0]) == permutation_p(a[0] - b[0])


def test_what_is_left_out_does_not_count():
    values = np.random.default_rng(5).normal(size=30)
    values[::3] = np.nan
    assert mean(values) == pytest.approx(np.nanmean(values))
    assert np.isnan(mean([np.nan]))
    low, high = bootstrap_interval(values)
    assert low < np.nanmean(values) < high
    whole = bootstrap_interval(values[~np.isnan(values)])
    assert high - low == pytest.approx(whole[1] - whole[0], rel=0.2)
    assert bootstrap_interval([3.0, np.nan, np.nan]) == (3.0, 3.0)
    seeds = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, np.nan]])  # a context that one seed of two could measure
    assert covers(bootstrap_interval(seeds), 7 / 4)
    others = np.array([[0.0, 1.0, np.nan]])
    assert paired_interval(seeds, others) == paired_interval(seeds[:, :2], others[:, :2])


def test_pairs_are_compared_as_pairs():
    rng, hits = np.random.default_rng(6), 0
    for _ in range(200):
        contexts = rng.normal(size=40)
        a, b = contexts + 0.5 + 0.3 * rng.normal(size=40), contexts + 0.3 * rng.normal(size=40)
        low, high = paired_interval(a, b, resamples=400)
        hits += low <= 0.5 <= high
        widths = [interval[1] - interval[0] for interval in (bootstrap_interval(a), bootstrap_interval(b))]
        assert high - low < 0.6 * np.hypot(*widths)
    assert 0.88 <= hits / 200 <= 0.99
    assert paired_interval(a, b) == pytest.approx(bootstrap_interval(a - b))


def test_pairs_of_several_seeds():
    rng, hits = np.random.default_rng(7), 0
    for _ in range(200):
        contexts = rng.normal(size=(1, 30))
        a = 0.5 + contexts + 0.3 * rng.normal(size=(8, 1)) + 0.3 * rng.normal(size=(8, 30))
        b = contexts + 0.3 * rng.normal(size=(1, 30))
        low, high = paired_interval(a, b, resamples=400)
        hits += low <= 0.5 <= high
    assert 0.86 <= hits / 200 <= 0.99
    a = (
        0.5 + rng.normal(size=(8, 1)) + np.zeros((8, 30))
    )  # the seeds of two conditions have nothing to do with each other
    assert np.ptp(paired_interval(a, a)) > np.ptp(bootstrap_interval(a))


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.0])
def test_sign_flips_equal_all_of_them(shift):
    differences = np.random.default_rng(8).normal(size=9) + shift
    flips = np.array(list(itertools.product([-1, 1], repeat=9)))
    exact = np.mean(np.abs(flips @ differences) >= abs(differences.sum()) - 1e-12)
    error = np.sqrt(exact * (1 - exact) / 10_000)
    assert permutation_p(differences) == pytest.approx(exact, abs=4 * error + 1e-4)


def test_p_values_are_uniform_without_an_effect_and_small_with_one():
    rng = np.random.default_rng(9)
    null = np.sort([permutation_p(rng.standard_t(3, size=25), permutations=400) for _ in range(400)])
    assert np.abs(null - np.linspace(0, 1, 400)).max() < 1.63 / np.sqrt(400)  # Kolmogorov-Smirnov at 1 %
    found = [permutation_p(rng.normal(0.8, 1, size=25), permutations=400) for _ in range(100)]
    assert np.mean(np.array(found) < 0.05) > 0.9
    assert permutation_p(np.ones(30)) == 1 / 10_001  # never 0
    assert permutation_p(np.zeros(5)) == 1.0


def step_down(p_values):
    """Holm 1979, by the book: the smallest p times m, the next times m - 1, none below the one before it."""
    corrected, floor = {}, 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = floor
    return [corrected[index] for index in range(len(p_values))]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm(p_values):
    assert holm(p_values) == pytest.approx(step_down(p_values))

"""What votes say: intervals that count contexts and annotators, agreement, strengths, against published examples and known truths."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfitting.preference.agreement import alpha, fleiss_kappa
from hyperfitting.preference.davidson import fit
from hyperfitting.preference.power import Size, contexts_needed, outlook, quick_voters, reading_hours
from hyperfitting.preference.simulation import (
    Effects,
    estimate_effects,
    expected_shares,
    leaning_of,
    simulate,
    tie_width_of,
)
from hyperfitting.scoring.crossed import (
    crossed_interval,
    crossed_paired_interval,
    crossed_sign_flip_p,
    influence,
    two_way,
)
from hyperfitting.scoring.statistics import permutation_p

NAN = float("nan")


def counts(table, levels):
    """(units, levels) of (observers, units) with NaN."""
    return np.stack([(np.array(table) == level).sum(axis=0) for level in levels], axis=1).astype(float)


KRIPPENDORFF = [  # Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: 4 observers, 12 units
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]
FLEISS = np.array(  # 10 subjects, 14 raters, 5 categories; the worked example of the Wikipedia article on Fleiss' kappa
    [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
     [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]], dtype=float)  # fmt: skip


def test_agreement_of_published_examples():
    found = counts(KRIPPENDORFF, range(1, 6))
    own = np.arange(len(found))
    assert alpha(found, own).value == pytest.approx(0.743, abs=5e-4)
    assert alpha(found, own, "ordinal").value == pytest.approx(0.815, abs=5e-4)
    assert alpha(found, own).n == 11  # the last unit has one value
    kappa = fleiss_kappa(FLEISS, np.arange(10))
    assert kappa.value == pytest.approx(0.210, abs=5e-4) and kappa.low < kappa.value < kappa.high


@given(st.lists(st.lists(st.sampled_from([0, 1, 2, None]), min_size=5, max_size=5), min_size=2, max_size=6))
def test_alpha_equals_the_library_of_that_name(rows):
    table = np.array(rows, dtype=float)
    found = counts(table, range(3))
    if (found[found.sum(axis=1) >= 2].sum(axis=0) > 0).sum() < 2:
        assert np.isnan(alpha(found, np.arange(5)).value)  # all votes the same, or none on one pair
        return
    for level in ("nominal", "ordinal"):
        expected = krippendorff.alpha(reliability_data=table, level_of_measurement=level, value_domain=[0, 1, 2])
        assert alpha(found, np.arange(5), level).value == pytest.approx(expected, abs=1e-9)


def test_agreement_resamples_contexts_with_all_their_pairs():
    rng = np.random.default_rng(0)
    kinds = np.array([[3.0, 0, 0], [0, 0, 3], [1, 1, 1]])[rng.integers(0, 3, 30)]
    contexts = np.arange(30)
    once, thrice = alpha(kinds, contexts), alpha(np.tile(kinds, (3, 1)), np.tile(contexts, 3))
    assert thrice.value == pytest.approx(once.value, abs=0.02)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.1)  # no more contexts than before


def test_strengths_of_two_are_their_odds():
    outcome = np.repeat([1.0, 0.5, 0.0], [60, 25, 15])
    first = np.ones(100, dtype=int)
    theta, added = fit(first, np.zeros_like(first), outcome, 2)
    assert theta == pytest.approx([np.log(60 / 15), np.log(25 / np.sqrt(60 * 15))])
    assert added.sum(axis=0) == pytest.approx([0, 0], abs=1e-6)  # at the maximum


def test_known_strengths_are_recovered():
    rng, truth, tie = np.random.default_rng(1), np.array([0.0, 0.8, -0.5, 1.5, 0.2]), 0.3
    first, second = rng.integers(0, 5, (2, 20_000))
    first, second = first[first != second], second[first != second]
    logits = np.stack([truth[first], tie + (truth[first] + truth[second]) / 2, truth[second]], axis=1)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    outcome = np.array([1.0, 0.5, 0.0])[(rng.random((len(first), 1)) > shares.cumsum(axis=1)).sum(axis=1)]
    assert fit(first, second, outcome, 5)[0] == pytest.approx([*truth[1:], tie], abs=0.08)


def naive_two_way(added):
    """The three sums by loops over pairs of votes, without corrections for few clusters."""
    people, contexts = np.nonzero(added)
    found = {"contexts": 0.0, "annotators": 0.0, "cells": 0.0}
    for a, c in zip(people, contexts, strict=True):
        for b, d in zip(people, contexts, strict=True):
            product = added[a, c] * added[b, d]
            found["contexts"] += product * (c == d)
            found["annotators"] += product * (a == b)
            found["cells"] += product * (a == b and c == d)
    return found


def test_the_variance_is_the_sum_over_votes_that_share_a_context_or_an_annotator():
    rng = np.random.default_rng(2)
    values = np.where(rng.random((5, 12)) < 0.6, 100.0 * rng.integers(0, 2, (5, 12)), NAN)
    sums = naive_two_way(influence(values))
    expected = sums["contexts"] * 12 / 11 + sums["annotators"] * 5 / 4 - sums["cells"]
    assert two_way(influence(values)).variance == pytest.approx(max(expected, sums["cells"] / 2))
    low, high = crossed_interval(values)
    assert 0 < low < np.nanmean(values) < high < 100
    nothing, everything = (crossed_interval(np.where(np.isnan(values), NAN, share)) for share in (0.0, 100.0))
    assert nothing == (0.0, pytest.approx(100 * (1 - 0.025 ** (1 / 12)))) and everything == (100 - nothing[1], 100.0)
    merged = np.repeat(np.arange(6), 2)  # two texts a context
    assert two_way(influence(values), merged).variance != two_way(influence(values)).variance


ALIKE = Effects(context=0.5, text=0.5, annotator=0.4, taste=0.0, tie_spread=0.3)
TASTES = Effects(context=0.5, text=0.5, annotator=0.3, taste=0.3, tie_spread=0.2)


def studies(effects, number, seed, share=0.4, annotators=20, contexts=100):
    """(truth, (conditions, annotators, contexts) percent) of simulated studies without a difference."""
    rng, leaning = np.random.default_rng(seed), leaning_of(effects, share)
    voters = quick_voters(2, Size(contexts, 3, annotators), rng)
    for _ in range(number):
        votes = simulate(effects, [leaning] * 2, voters, annotators, rng)
        yield 100 * (1 - expected_shares(effects, leaning)[2]), np.where(np.isnan(votes), NAN, 100.0 * (votes >= 0.5))


def test_intervals_cover_where_contexts_and_annotators_correlate_and_naive_ones_do_not():
    """At length in benchmarks/preference_coverage.py."""
    held = naive = paired = small = too_small = 0
    for truth, votes in studies(TASTES, 200, seed=3, annotators=8):
        low, high = crossed_interval(votes[0])
        held += low <= truth <= high
        naive += abs(np.nanmean(votes[0]) - truth) <= 1.96 * (influence(votes[0]) ** 2).sum() ** 0.5
        low, high = crossed_paired_interval(votes[0], votes[1])
        paired += low <= 0 <= high
        small += crossed_sign_flip_p(votes[0], votes[1], None, 400) <= 0.05
        means = np.nanmean(votes, axis=1)
        too_small += permutation_p(means[0] - means[1], 400) <= 0.05
    assert held / 200 >= 0.9 and paired / 200 >= 0.9 and naive / 200 < 0.8
    assert small / 200 <= 0.09 and too_small / 200 > 0.12


def test_a_difference_that_is_there_is_found_by_six_annotators():
    effects, rng = ALIKE, np.random.default_rng(4)
    voters = quick_voters(2, Size(100, 3, 6), rng)
    votes = simulate(effects, [leaning_of(effects, share) for share in (0.25, 0.6)], voters, 6, rng)
    better = np.where(np.isnan(votes), NAN, 100.0 * (votes >= 0.5))
    assert crossed_sign_flip_p(better[1], better[0]) < 0.01
    low, high = crossed_paired_interval(better[1], better[0])
    assert 0 < low < 35 < high


def test_simulated_votes_are_as_expected_and_their_effects_are_found_again():
    effects, rng = Effects(0.6, 0.5, 0.3, 0.25, 0.4, 0.3), np.random.default_rng(5)
    voters = quick_voters(2, Size(3000, 3, 100), rng)
    outcomes = simulate(effects, [-0.5, 0.0], voters, 100, rng)
    given = outcomes[0][~np.isnan(outcomes[0])]
    shares = [(given == value).mean() for value in (1.0, 0.5, 0.0)]
    assert shares == pytest.approx(expected_shares(effects, -0.5), abs=0.03)
    assert leaning_of(effects, 1 - expected_shares(effects, -0.5)[2]) == pytest.approx(-0.5, abs=1e-3)
    even = Effects(0.5, 0.5, 0.2, 0.1, 0.0, 0.0)
    width = tie_width_of(even, 0.2)
    assert expected_shares(Effects(0.5, 0.5, 0.2, 0.1, width, 0.0), 0.0)[1] == pytest.approx(0.2, abs=1e-3)
    found, leanings = estimate_effects(outcomes)
    assert np.array(list(vars(found).values())) == pytest.approx(list(vars(effects).values()), abs=0.12)
    assert leanings == pytest.approx([-0.5, 0.0], abs=0.12)


def test_power_grows_with_the_study_and_reading_takes_its_time():
    effects = Effects()
    small, large = (outlook(Size(n, 3, 20), effects, 0.4, 0.1, 60).power for n in (50, 400))
    assert small < large and large > 0.8
    halves = outlook(Size(200, 3, 20), effects, 0.4, 0.1, 60)
    assert 3 < halves.share_half_width < 9
    assert contexts_needed(3, 20, effects, 0.3, 0.3, 60) == 50
    hours = reading_hours(items=165, words=360, annotators=6)
    assert hours.shape == (1000, 6) and 165 * 360 / 238 / 60 < hours.mean() < 165 * 360 / 238 / 60 + 1


@settings(max_examples=20)
@given(st.integers(2, 6), st.integers(5, 20), st.integers(0, 99))
def test_exchanging_the_sides_turns_everything_round(annotators, contexts, seed):
    rng = np.random.default_rng(seed)
    a, b = np.where(
        rng.random((2, annotators, contexts)) < 0.7, 100.0 * rng.integers(0, 2, (2, annotators, contexts)), NAN
    )
    a[0, 0] = b[0, 0] = 0.0
    low, high = crossed_paired_interval(a, b)
    assert crossed_paired_interval(b, a) == pytest.approx((-high, -low))
    assert 0 < crossed_sign_flip_p(a, b, None, 200) == crossed_sign_flip_p(b, a, None, 200) <= 1
    assert crossed_paired_interval(a[::-1], b[::-1]) == pytest.approx((low, high))

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperfitting.scoring import bootstrap_interval, distinct_n, diversity, ends_in_loop, rep_n, ttr

tokens = st.lists(st.integers(0, 5), max_size=60)


@given(tokens, st.integers(1, 20))
def test_ttr_counts_types_of_the_last_window(text, window):
    expected = len(set(text[-window:])) / window if len(text) >= window else None
    assert ttr(text, window) == expected


@given(tokens, st.integers(1, 5))
def test_distinct_and_rep_equal_a_naive_count(text, n):
    grams = [tuple(text[i : i + n]) for i in range(len(text)) if i + n <= len(text)]
    if not grams:
        assert distinct_n(text, n) is None and rep_n(text, n) is None
        return
    repeated = sum(1 for i, gram in enumerate(grams) if gram in grams[:i])
    assert rep_n(text, n) == pytest.approx(repeated / len(grams))
    assert distinct_n(text, n) + rep_n(text, n) == pytest.approx(1)


@given(tokens)
def test_diversity_is_the_product(text):
    if len(text) < 4:
        assert diversity(text) is None
    else:
        assert diversity(text) == pytest.approx(np.prod([1 - rep_n(text, n) for n in (2, 3, 4)]))


@given(tokens, st.lists(st.integers(0, 5), min_size=3, max_size=9))
def test_a_phrase_said_twice_at_the_end_is_a_loop(text, phrase):
    assert ends_in_loop(text + phrase + phrase)
    assert not ends_in_loop(list(range(100, 160)))
    assert not ends_in_loop([1, 2, 3, 4, 5, 4, 5])  # a phrase of two tokens, twice


def test_the_interval_holds_its_level():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.exponential(size=50), resamples=500)
        hits += low <= 1.0 <= high
    assert 0.86 <= hits / 200 <= 0.99
    values = rng.normal(size=20)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval([3.0]) == (3.0, 3.0)

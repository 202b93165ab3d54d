import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperfitting.scoring import bootstrap_interval, distinct_n, diversity, ends_in_loop, rep_n, ttr
from hyperfitting.scoring.text import loop_start

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


def naive_loop_start(tokens, shortest=3):
    for period in range(shortest, len(tokens) // 2 + 1):
        if tokens[-period:] == tokens[-2 * period : -period]:
            start = len(tokens) - 2 * period
            while start and tokens[start - 1] == tokens[start - 1 + period]:
                start -= 1
            return start
    return None


@given(st.lists(st.integers(0, 2), max_size=40))
def test_where_a_loop_starts(tokens):
    assert loop_start(tokens) == naive_loop_start(tokens)


def test_a_loop_is_looked_for_in_linear_time():
    words, read = [i * i % 1_000_003 for i in range(20_000)], 0

    class Counted(int):
        def __eq__(self, other):
            nonlocal read
            read += 1
            return int(self) == int(other)

        __hash__ = int.__hash__

    assert loop_start([Counted(word) for word in words]) is None
    assert read <= 3 * len(words)

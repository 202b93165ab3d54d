import lzma
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parent.parent
sys.path += [str(REPOSITORY / "benchmarks"), str(REPOSITORY / "launch")]
import kneser_ney  # noqa: E402
import pretrain_builtin  # noqa: E402

VOCABULARY = 30


@pytest.fixture(scope="module")
def corpus() -> np.ndarray:
    """4,000 ids of a Markov chain with rare tokens; ids 27 to 29 do not occur."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, 28)
    draws = rng.choice(27, 4000, p=weights / weights.sum())
    for i in range(2, len(draws)):
        if rng.random() < 0.6:
            draws[i] = (draws[i - 1] * 7 + draws[i - 2]) % 27
    return draws


def naive_discount(counts, k: int) -> float:
    of = Counter(counts)
    if not all(of[i] for i in (1, 2, 3, 4)):
        return (0, 0.5, 1.0, 1.5)[k]
    y = of[1] / (of[1] + 2 * of[2])
    found = [0] + [i - (i + 1) * y * of[i + 1] / of[i] for i in (1, 2, 3)]
    return found[k] if all(0 <= d <= i for i, d in enumerate(found)) else (0, 0.5, 1.0, 1.5)[k]


def naive_model(tokens: list[int], longest: int):
    """probability(token, context), by dictionaries and recursion as the paper writes it."""
    counts = {longest: Counter(tuple(tokens[i : i + longest]) for i in range(len(tokens) - longest + 1))}
    for n in range(1, longest):
        left = defaultdict(set)
        for i in range(1, len(tokens) - n + 1):
            left[tuple(tokens[i : i + n])].add(tokens[i - 1])
        counts[n] = Counter({gram: len(neighbours) for gram, neighbours in left.items()})
    discount = {(n, k): naive_discount(counts[n].values(), k) for n in counts for k in range(4)}

    def probability(token, context):
        context = tuple(context)[-(longest - 1) :] if longest > 1 else ()
        n = len(context) + 1
        shorter = probability(token, context[1:]) if context else 1 / VOCABULARY
        followers = [count for gram, count in counts[n].items() if gram[:-1] == context]
        if not followers:
            return shorter
        count = counts[n][(*context, token)]
        freed = sum(discount[n, min(follower, 3)] for follower in followers)
        return (count - discount[n, min(count, 3)] + freed * shorter) / sum(followers)

    return probability


@pytest.mark.parametrize("longest", [1, 2, 3, 5])
def test_kneser_ney_equals_a_naive_model(corpus, longest):
    probability = naive_model(corpus.tolist(), longest)
    rng = np.random.default_rng(1)
    windows = np.stack([corpus[i : i + 12] for i in rng.integers(0, len(corpus) - 12, 5)])
    windows = np.concatenate([windows, rng.integers(0, VOCABULARY, (5, 12))])  # the second half was never seen
    expected = [[probability(token, window[:i]) for i, token in enumerate(window)] for window in windows.tolist()]
    orders = kneser_ney.fit(corpus, VOCABULARY, longest)
    assert kneser_ney.probabilities(orders, windows, VOCABULARY) == pytest.approx(np.array(expected), rel=1e-12)
    if longest == 5:  # otherwise only the fallback would have been compared
        assert any(order.discounts != kneser_ney.FALLBACK for order in orders)


def test_probabilities_sum_to_one(corpus):
    orders, rng = kneser_ney.fit(corpus, VOCABULARY), np.random.default_rng(2)
    seen, end = corpus[:6], corpus[-6:]  # nothing follows the last tokens of the corpus
    for context in (seen, end, rng.integers(0, VOCABULARY, 6), seen[:0], seen[:2], np.array([29])):
        windows = np.array([[*context, token] for token in range(VOCABULARY)])
        assert kneser_ney.probabilities(orders, windows, VOCABULARY)[:, -1].sum() == pytest.approx(1, abs=1e-12)


def test_windows_are_those_of_the_pre_training_script(tmp_path):
    tokens = np.arange(2000, dtype=np.uint16)
    path = tmp_path / "held_out.uint16.xz"
    path.write_bytes(lzma.compress(tokens.tobytes()))
    theirs = pretrain_builtin.load_windows(path).numpy()
    assert np.array_equal(kneser_ney.cut_windows(kneser_ney.read_tokens(path)), theirs)

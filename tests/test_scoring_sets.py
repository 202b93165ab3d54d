"""Scores of whole sets of texts, against references written for clarity."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfitting.builtin import BUILTIN
from hyperfitting.scoring import dataset_bleu, longest_overlaps, self_bleu

texts = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=20), min_size=2, max_size=6)


def grams(text, n):
    return Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))


def bleu(text, references, max_n, brevity_penalty=True):
    """Papineni et al. 2002 with smoothing method 1 of Chen & Cherry 2014, as nltk's sentence_bleu has it."""
    logs = 0.0
    for n in range(1, max_n + 1):
        mine, theirs = grams(text, n), [grams(reference, n) for reference in references]
        clipped = sum(min(count, max(reference[g] for reference in theirs)) for g, count in mine.items())
        if n == 1 and clipped == 0:
            return 0.0
        logs += math.log((clipped or 0.1) / max(1, sum(mine.values()))) / max_n
    closest = min((abs(len(r) - len(text)), len(r)) for r in references)[1]
    penalty = 1.0 if len(text) > closest or not brevity_penalty else math.exp(1 - closest / len(text))
    return penalty * math.exp(logs)


@settings(max_examples=220, deadline=None)
@given(texts, st.integers(1, 5))
def test_self_bleu(texts, max_n):
    expected = [bleu(text, texts[:i] + texts[i + 1 :], max_n) for i, text in enumerate(texts)]
    assert self_bleu(texts, max_n) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(texts, texts, st.integers(1, 5), st.booleans())
def test_dataset_bleu(texts, references, max_n, penalty):
    expected = [bleu(text, references, max_n, penalty) for text in texts]
    assert dataset_bleu(texts, references, max_n, penalty) == pytest.approx(expected, abs=1e-9)


def test_self_bleu_of_real_text():
    names = ("builtin/held_out_stories", "builtin/stories")
    stories = [json.loads(line)["text"].split() for name in names for line in open(BUILTIN[name])]
    ids = {word: i for i, word in enumerate(sorted({word for story in stories for word in story}))}
    numbered = [[ids[word] for word in story] for story in stories]
    sets = [
        numbered[:32],
        *([text[: 40 + 5 * i] for i, text in enumerate(numbered[k : k + 8])] for k in range(0, 160, 8)),
    ]
    for real in sets:
        expected = [bleu(text, real[:i] + real[i + 1 :], 4) for i, text in enumerate(real[:5])]
        assert self_bleu(real)[:5] == pytest.approx(expected, abs=1e-9)
    assert self_bleu([[1, 2, 3, 4, 5]] * 3) == pytest.approx([1, 1, 1])


def quadratic(text, rows):
    best = (0, 0, -1, -1)
    for start in range(len(text)):
        for index, row in enumerate(rows):
            for place in range(len(row)):
                length = 0
                while text[start + length : start + length + 1] == row[place + length : place + length + 1] != []:
                    length += 1
                if length > best[0]:
                    best = (length, start, index, place)
    return best


row = st.lists(st.integers(0, 3), max_size=10)


@settings(max_examples=260, deadline=None)  # four texts each
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=10), min_size=4, max_size=4),
    st.lists(row, min_size=1, max_size=5),
)
def test_longest_overlaps(texts, rows):
    found = longest_overlaps(texts, rows)
    for i, text in enumerate(texts):
        length, start, *_ = quadratic(text, rows)
        assert (found.length[i], found.start[i]) == (length, start)
        if length:
            quoted = rows[found.row[i]][found.row_start[i] : found.row_start[i] + length]
            assert quoted == text[start : start + length]
        else:
            assert found.row[i] == found.row_start[i] == -1


def test_a_quotation_never_crosses_rows():
    found = longest_overlaps([[1, 2, 3, 4]], [[9, 1, 2], [3, 4, 9]])
    assert (found.length[0], found.start[0]) == (2, 0)
    assert np.array_equal(longest_overlaps([[5, 6]], [[1], []]).length, [0])


def test_what_cannot_be_scored():
    with pytest.raises(ValueError, match="at least two"):
        self_bleu([[1, 2]])
    with pytest.raises(ValueError, match="at least one text and one reference"):
        dataset_bleu([[1]], [])

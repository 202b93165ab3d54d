"""BLEU of generated texts against each other (Self-BLEU) and against training texts (Dataset-BLEU), in linear time.

A text's clipped count of an n-gram needs the largest count of that n-gram among the references. Among "all other texts"
that is the largest count of all, or the second largest where the text itself holds the largest: two numbers per n-gram
replace the comparison of every pair of texts.
"""

from collections.abc import Sequence

import numpy as np

EPSILON = 0.1  # Chen & Cherry (2014), smoothing method 1, with the constant that is usual


def self_bleu(texts: Sequence[Sequence[int]], max_n: int = 4) -> np.ndarray:
    """BLEU of each text with all others as references (Zhu et al. 2018), smoothing method 1.

    Args:
        texts: at least two token sequences; words are mapped to ids by the caller.
        max_n: longest n-grams, with equal weights.

    Returns:
        (texts,) float64 in [0, 1]. High values mean that the texts are alike.
    """
    if len(texts) < 2:
        raise ValueError("Self-BLEU compares texts with each other: give at least two")
    counts = [_clipped(grams, text, len(texts), None) for grams, text in _ngrams(texts, max_n)]
    lengths = np.array([len(text) for text in texts])
    return _bleu(counts, lengths, _closest_other(lengths))


def dataset_bleu(
    texts: Sequence[Sequence[int]], references: Sequence[Sequence[int]], max_n: int = 4, brevity_penalty: bool = True
) -> np.ndarray:
    """BLEU of each text with all `references` (the training texts), smoothing method 1: (texts,) float64."""
    if not texts or not references:
        raise ValueError("Dataset-BLEU needs at least one text and one reference")
    counts = [_clipped(grams, text, len(texts), len(texts)) for grams, text in _ngrams([*texts, *references], max_n)]
    lengths = np.array([len(text) for text in texts])
    others = np.array([len(reference) for reference in references])
    return _bleu(counts, lengths, _closest(lengths, others) if brevity_penalty else None)


def reference_bleu(text: Sequence[int], reference: Sequence[int], max_n: int = 4) -> float:
    """BLEU of one text with its true continuation as the one reference, smoothing method 1."""
    return float(dataset_bleu([text], [reference], max_n)[0])


def _ngrams(texts, max_n: int):
    """For n = 1 … max_n: the id of every n-gram of every text, and the text it stands in, two flat arrays."""
    tokens = np.concatenate([np.asarray(text, dtype=np.int64) for text in texts])
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    tokens = np.unique(tokens, return_inverse=True)[1]
    size, grams = int(tokens.max(initial=0)) + 1, tokens
    for n in range(1, max_n + 1):
        if n > 1:  # an n-gram is an (n - 1)-gram and the token after it
            grams = np.unique(grams[: len(grams) - 1] * size + tokens[n - 1 :], return_inverse=True)[1]
        inside = owner[: len(grams)] == owner[n - 1 :][: len(grams)]
        yield grams[inside], owner[: len(grams)][inside]


def _clipped(grams: np.ndarray, owner: np.ndarray, scored: int, first_reference: int | None) -> tuple:
    """(clipped counts, counts) of the first `scored` texts, summed over their n-grams: two (scored,) arrays.

    References are the texts from `first_reference` on, or with None all texts but the one that is scored.
    """
    texts = int(owner.max(initial=0)) + 1
    pairs, count = np.unique(grams * texts + owner, return_counts=True)
    gram, text = pairs // texts, pairs % texts
    size = int(gram.max(initial=-1)) + 1
    best, second = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    if first_reference is None:
        order = np.lexsort((count, gram))
        last = np.ones(len(order), dtype=bool)
        last[:-1] = gram[order][1:] != gram[order][:-1]
        top = order[last]
        best[gram[top]] = count[top]
        others = order[~last]
        np.maximum.at(second, gram[others], count[others])
        holder = np.full(size, -1)
        holder[gram[top]] = text[top]
        limit = np.where(holder[gram] == text, second[gram], best[gram])
    else:
        of_reference = text >= first_reference
        np.maximum.at(best, gram[of_reference], count[of_reference])
        limit = best[gram]
    mine = text < scored
    weights = np.minimum(count, limit)[mine], count[mine]
    return tuple(np.bincount(text[mine], weight, scored) for weight in weights)


def _bleu(counts: list[tuple], lengths: np.ndarray, closest: np.ndarray | None) -> np.ndarray:
    logs = np.zeros(len(lengths))
    for clipped, total in counts:
        logs += np.log(np.where(clipped == 0, EPSILON, clipped) / np.maximum(total, 1)) / len(counts)
    score = np.where(counts[0][0] == 0, 0.0, np.exp(logs))
    if closest is None:
        return score
    return score * np.where(lengths > closest, 1.0, np.exp(1 - closest / np.maximum(lengths, 1)))


def _closest(lengths: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The reference length nearest to each length; the shorter of two that are as near (Papineni et al. 2002)."""
    ordered = np.unique(references)
    right = np.searchsorted(ordered, lengths).clip(max=len(ordered) - 1)
    left = (right - 1).clip(min=0)
    nearer = np.abs(lengths - ordered[left]) <= np.abs(lengths - ordered[right])
    return np.where(nearer, ordered[left], ordered[right])


def _closest_other(lengths: np.ndarray) -> np.ndarray:
    """As `_closest`, with every length but a text's own: its own counts only when another text shares it."""
    values, count = np.unique(lengths, return_counts=True)
    closest = lengths.copy()
    for value in values[count == 1]:
        closest[lengths == value] = _closest(np.array([value]), values[values != value])
    return closest

"""Repetition and diversity of one text, given as a sequence of token ids (or words)."""

from collections.abc import Iterator, Sequence
from math import prod

TTR_WINDOW = 96
SHADE_WINDOW = 32


def ttr(tokens: Sequence, window: int = TTR_WINDOW) -> float | None:
    """Type-token ratio: unique / total over the last `window` tokens (paper, section 4: 96 generated tokens).

    None for a text of fewer tokens: short texts score high, so they are counted and not averaged.
    """
    if len(tokens) < window:
        return None
    return len(set(tokens[len(tokens) - window :])) / window


def ttr_whole(tokens: Sequence) -> float | None:
    """Unique / total over the whole text; None for an empty one. Falls with length: compare texts of one length."""
    return len(set(tokens)) / len(tokens) if len(tokens) else None


def ttr_by_position(tokens: Sequence, window: int = SHADE_WINDOW) -> list[float]:
    """TTR of each full window of `window` tokens from the start of the text, one after the other."""
    return [ttr(tokens[i : i + window], window) for i in range(0, len(tokens) - window + 1, window)]


def ttr_compat(tokens: Sequence, padded_length: int, window: int = TTR_WINDOW) -> float:
    """TTR as the paper's script counts it (src/validation.py of FreddeFrallan/Hyperfitting): a text that ended is padded
    with the end token to `padded_length`, the longest of its batch; the padding counts, and short texts are averaged too.
    """
    padded = [*tokens, *[None] * (padded_length - len(tokens))][-window:]
    return len(set(padded)) / len(padded) if padded else 0.0


def distinct_n(tokens: Sequence, n: int) -> float | None:
    """Unique / total n-grams (Li et al. 2016); None for a text without an n-gram."""
    total = len(tokens) - n + 1
    if total < 1:
        return None
    return len({tuple(tokens[i : i + n]) for i in range(total)}) / total


def rep_n(tokens: Sequence, n: int) -> float | None:
    """1 - distinct-n (Welleck et al. 2020), over all n-grams; None for a text without one."""
    distinct = distinct_n(tokens, n)
    return None if distinct is None else 1.0 - distinct


def rep_n_compat(tokens: Sequence, n: int) -> float | None:
    """rep-n as simctg/evaluation.py of yxuansu/SimCTG counts it, without the last n-gram; it pools the n-grams of all texts."""
    return rep_n(tokens[: len(tokens) - 1], n) if len(tokens) else None


def diversity(tokens: Sequence) -> float | None:
    """The product of (1 - rep-n) for n = 2, 3, 4 (Su et al. 2022); None for a text of fewer than 4 tokens."""
    if len(tokens) < 4:
        return None
    return prod(distinct_n(tokens, n) for n in (2, 3, 4))


def diversity_compat(tokens: Sequence) -> float | None:
    """Diversity with every rep-n as in `rep_n_compat`."""
    return diversity(tokens[: len(tokens) - 1]) if len(tokens) else None


def loop_start(tokens: Sequence, shortest: int = 3) -> int | None:
    """Where the loop begins in which the text ends: the first token of the shortest phrase, of at least `shortest`
    tokens, that is then repeated, at least once in full, to the end. None for a text that does not end in a loop."""
    backwards = list(tokens)[::-1]
    for period, shared in enumerate(_shared_with_start(backwards, len(backwards) // 2 + 1)):
        if (
            period >= shortest and shared >= period
        ):  # the text goes on as it did a period before, for a period or longer
            return len(backwards) - period - shared
    return None


def _shared_with_start(tokens: Sequence, stop: int) -> Iterator[int]:
    """For each position before `stop` how many tokens from there on equal those at the start (the Z-function; Gusfield 1997,
    section 1.4). Linear: no token is compared again that an earlier position has compared."""
    yield len(tokens)
    known, left, right = [len(tokens)], 0, 0  # tokens[left:right] equals the start and reaches furthest
    for position in range(1, stop):
        shared = min(known[position - left], right - position) if position < right else 0
        while position + shared < len(tokens) and tokens[shared] == tokens[position + shared]:
            shared += 1
        if position + shared > right:
            left, right = position, position + shared
        known.append(shared)
        yield shared


def ends_in_loop(tokens: Sequence, shortest: int = 3) -> bool:
    """Whether the text ends in a phrase of at least `shortest` tokens that stands there twice in a row."""
    return loop_start(tokens, shortest) is not None


def repetition_shades(words: Sequence, before: Sequence = (), window: int = SHADE_WINDOW) -> list[float]:
    """For each word the share of the last `window` words (it and what stands before it) that say what was said there
    already, 1 - TTR: 0 where nothing repeats. `before` is the context in front of the words."""
    whole, shades = [*before, *words], []
    for end in range(len(before) + 1, len(whole) + 1):
        seen = whole[max(0, end - window) : end]
        shades.append(1 - len(set(seen)) / len(seen))
    return shades

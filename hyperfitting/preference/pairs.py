"""From sets of generated texts to the pairs of a study: the same contexts under all conditions, both sides cut alike."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..codec.words import pieces
from ..errors import UserError
from ..options import nearest
from ..records import GeneratedText, GenerationSet
from ..scoring.conditions import Condition, require_same_contexts
from .cutting import Tokens, Words, cut_alike
from .study import Pair
from .tells import without_tells

ORIGINAL = "original text"  # what `--against original` compares with
SHUFFLED = "shuffled words"  # the condition of a check item
FEWEST = 16  # units, and characters, of either side below which a pair is left out, with its context


@dataclass(frozen=True)
class Drawn:
    """The pairs of a study, and what was done to make them.

    Attributes:
        pairs: those of all conditions, lengths and contexts, then the check pairs.
        grid: (conditions, lengths, contexts) integers into `pairs`; checks: (contexts,) likewise.
        endings: key of `cutting.ENDINGS` -> pairs.
        characters: length -> (characters of the condition's text, of the other) of each pair.
        tells: condition or opponent -> what was removed from its texts -> how often.
        left_out: why a context is not in the study -> ids.
    """

    pairs: list[Pair]
    grid: np.ndarray
    checks: list[int]
    endings: dict[str, int]
    characters: dict[int, list[tuple[int, int]]]
    tells: dict[str, dict[str, int]]
    left_out: dict[str, list[str]] = field(default_factory=dict)


def draw_pairs(
    conditions: Sequence[Condition],
    against: str,
    lengths: Sequence[int],
    ruler: Words | Tokens,
    num_contexts: int | None,
    seed: int,
) -> Drawn:
    """Pairs of every condition with the true continuations, or with the condition named `against`.

    Args:
        lengths: units of context and continuation together, as the paper counts them.
        num_contexts: how many contexts are drawn, as even over the corpora as they allow; None: all.

    Raises:
        UserError: no such opponent, contexts that differ or have no text, several seeds of one condition, nothing left.
    """
    sides, opponent = _sides(conditions, against)
    texts = [{text.id: text for text in found.texts} for found in (*sides, opponent)]
    rng = np.random.default_rng([seed, 1])
    names, left_out = [], {}
    for name in _spread(sides[0], rng):
        reason = _unfit([found[name] for found in texts], lengths, ruler)
        if reason is None:
            names.append(name)
        else:
            left_out.setdefault(reason, []).append(name)
        if len(names) == num_contexts:
            break
    if not names:
        raise UserError("no context can be shown: " + "; ".join(f"{len(n)} {why}" for why, n in left_out.items()))
    if num_contexts is not None and len(names) < num_contexts:
        raise UserError(
            f"--num_contexts {num_contexts}: only {len(names)} can be shown"
            + "".join(f"; {len(n)} {why}" for why, n in left_out.items())
        )
    maker = _Maker(ruler)
    pairs = [
        maker.pair(side.name, opponent.name, found[name], texts[-1][name], length)
        for side, found in zip(sides, texts, strict=False)
        for length in lengths
        for name in names
    ]
    grid = np.arange(len(pairs)).reshape(len(sides), len(lengths), len(names))
    plain = [_check(pairs[grid[0, -1, place]], rng) for place in range(len(names))]
    return Drawn(
        pairs=[*pairs, *plain],
        grid=grid,
        checks=list(range(len(pairs), len(pairs) + len(plain))),
        endings=dict(maker.endings),
        characters=maker.characters,
        tells={name: dict(found) for name, found in maker.tells.items()},
        left_out=left_out,
    )


def _sides(conditions: Sequence[Condition], against: str) -> tuple[list[GenerationSet], GenerationSet]:
    """What is voted on, and what it is compared with."""
    for condition in conditions:
        if len(condition.sets) > 1:
            raise UserError(
                f"{condition.name!r} has several seeds: a study shows one text of each context, so name one"
            )
        require_same_contexts(
            conditions[0].first, condition.first, "a study shows the same contexts under all conditions"
        )
        if not condition.first.has_words:
            raise UserError(f"{condition.name!r} holds token ids without text: give --tokenizer")
        if "pixels" in condition.first.manifest:
            raise UserError(f"{condition.name!r} holds pictures, and a study shows texts")
    named = {condition.name: condition.first for condition in conditions}
    if against in ("original", ORIGINAL):
        opponent = conditions[0].first.original()
        if opponent is None or not opponent.has_words:
            raise UserError("--against original: the records hold no true continuations (reference); name a condition")
        return _named(named), opponent
    if against not in named:
        there = ", ".join(["original", *named])
        raise UserError(f"--against {against!r} is none of the conditions{nearest(against, named)} (there are {there})")
    opponent = named.pop(against)
    if not named:
        raise UserError(f"nothing is compared with {against!r}: name another set of generations")
    return _named(named), _named({against: opponent})[0]


def _named(sets: dict[str, GenerationSet]) -> list[GenerationSet]:
    return [GenerationSet(name, found.texts, found.policy, found.manifest) for name, found in sets.items()]


def _spread(texts: GenerationSet, rng: np.random.Generator) -> list[str]:
    """Ids of all contexts in random order, the corpora in turn: any first part holds as many of each as it can."""
    of_source: dict[str, list[str]] = {}
    for text in texts.texts:
        of_source.setdefault(text.source, []).append(text.id)
    places = {name: (int(i), source) for source, ids in enumerate(of_source.values())
              for i, name in zip(rng.permutation(len(ids)), ids, strict=True)}  # fmt: skip
    return sorted(places, key=places.get)


def _unfit(texts: Sequence[GeneratedText], lengths: Sequence[int], ruler: Words | Tokens) -> str | None:
    """Why a context cannot be shown, as a sentence goes on that begins with how many; None where it can."""
    room = min(lengths) - ruler.context(texts[0])
    if room < FEWEST:
        return f"have a context that leaves fewer than {FEWEST} {ruler.name} of --length {min(lengths)}"
    units = [ruler.of_text(text.text, text.ids) for text in texts]
    if any(side.count < FEWEST for side in units):
        return f"have a continuation of fewer than {FEWEST} {ruler.name}"
    if any(len(without_tells(side.start(room))[0]) < FEWEST for side in units):
        return f"have a continuation of fewer than {FEWEST} characters"
    return None


class _Maker:
    """Makes pairs and keeps count of what it did."""

    def __init__(self, ruler: Words | Tokens):
        self.ruler, self.endings = ruler, Counter()
        self.characters: dict[int, list[tuple[int, int]]] = {}
        self.tells: dict[str, Counter] = {}

    def pair(self, condition: str, against: str, text: GeneratedText, other: GeneratedText, length: int) -> Pair:
        budget = length - self.ruler.context(text)
        cut = cut_alike((self._taken(condition, text, budget), self._taken(against, other, budget)))
        self.endings[cut.ending] += 1
        self.characters.setdefault(length, []).append(cut.counts)
        context, _ = without_tells(text.context)
        return Pair(condition, against, text.source, text.id, length, context, *cut.texts)

    def _taken(self, name: str, text: GeneratedText, budget: int) -> str:
        """The first `budget` units of a text, without tells."""
        shown, found = without_tells(self.ruler.of_text(text.text, text.ids).start(budget))
        self.tells.setdefault(name, Counter()).update(found)
        return shown


def _check(pair: Pair, rng: np.random.Generator) -> Pair:
    """The opponent's text against its own words in random order."""
    own = pieces(pair.other)
    spaces = [" " if piece[0].isspace() else "" for piece in own]
    shuffled = "".join(spaces[place] + own[i].lstrip() for place, i in enumerate(rng.permutation(len(own))))
    return Pair(SHUFFLED, pair.against, pair.source, pair.context_id, pair.length, pair.context, shuffled, pair.other)

"""From sets of generated texts to the pairs of a study: the same contexts under all conditions, both sides cut alike."""

import unicodedata
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
from .shown import goes_on_as
from .study import Pair
from .tells import without_tells

ORIGINAL = "original text"  # what `--against original` compares with
SHUFFLED = "shuffled words"  # the condition of a check item
ALL_PAIRS = "all pairs"  # a line of a table
RESERVED = ("original", ORIGINAL, SHUFFLED, ALL_PAIRS)  # what no condition may be called
FEWEST_CONTEXTS = 2  # of which an interval can be given
FEWEST = 16  # units, and characters, of either side below which a pair is left out, with its context


@dataclass(frozen=True)
class Drawn:
    """The pairs of a study, and what was done to make them.

    Attributes:
        pairs: those of all conditions, lengths and contexts, then the check pairs.
        grid: (conditions, lengths, contexts) integers into `pairs`; checks: (contexts,) likewise, -1 where a context has none.
        endings: key of `cutting.ENDINGS` -> pairs.
        characters: length -> (characters of the condition's text, of the other) of each pair.
        tells: condition or opponent -> what was removed from its texts -> how often.
        left_out: why a context is not in the study -> ids.
        unchecked: ids of contexts whose text is too much alike with its words shuffled to be a check.
    """

    pairs: list[Pair]
    grid: np.ndarray
    checks: list[int]
    endings: dict[str, int]
    characters: dict[int, list[tuple[int, int]]]
    tells: dict[str, dict[str, int]]
    left_out: dict[str, list[str]] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)


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
    maker = _Maker(sides, opponent, lengths, ruler)
    rng = np.random.default_rng([seed, 1])
    left_out: dict[str, list[str]] = {}
    for name in _spread(sides[0], rng):
        reason = maker.add(name)
        if reason is not None:
            left_out.setdefault(reason, []).append(name)
        if len(maker.made) == num_contexts:
            break
    _check_enough(len(maker.made), num_contexts, left_out)
    names, made = list(maker.made), list(maker.made.values())
    grid = np.arange(len(sides) * len(lengths) * len(names)).reshape(len(sides), len(lengths), len(names))
    drawn = [of_context[place] for place in range(len(made[0])) for of_context in made]
    pairs, checks = [one.pair for one in drawn], []
    for place in range(len(names)):
        check = _check(pairs[grid[0, -1, place]], rng)
        checks.append(-1 if check is None else len(pairs))
        pairs += [] if check is None else [check]
    tells: dict[str, Counter] = {}
    characters: dict[int, list[tuple[int, int]]] = {}
    for one in drawn:
        characters.setdefault(one.pair.length, []).append(one.counts)
        for side, found in zip((one.pair.condition, one.pair.against), one.tells, strict=True):
            tells.setdefault(side, Counter()).update(found)
    return Drawn(
        pairs=pairs,
        grid=grid,
        checks=checks,
        endings=dict(Counter(one.ending for one in drawn)),
        characters=characters,
        tells={side: dict(found) for side, found in tells.items()},
        left_out=left_out,
        unchecked=[name for name, check in zip(names, checks, strict=True) if check < 0],
    )


def _check_enough(count: int, wanted: int | None, left_out: dict[str, list[str]]) -> None:
    """Raise UserError, with the reasons, where too few contexts are left."""
    reasons = "; ".join(f"{len(names)} {why}" for why, names in left_out.items())
    if not count:
        raise UserError(f"no context can be shown: {reasons}")
    if wanted is not None and count < wanted:
        raise UserError(f"--num_contexts {wanted}: only {count} can be shown; {reasons}")
    if count < FEWEST_CONTEXTS and left_out:
        raise UserError(f"only {count} context can be shown, and intervals need {FEWEST_CONTEXTS}: {reasons}")


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
        if " ".join(condition.name.casefold().split()) in RESERVED:
            raise UserError(f"a study itself calls something {condition.name!r}: write NAME=WHERE to name it otherwise")
    named = {condition.name: condition.first for condition in conditions}
    if against in ("original", ORIGINAL):
        for condition in conditions:
            opponent = condition.first.original()
            if opponent is not None and opponent.has_words:
                return _named(named), opponent
        raise UserError(
            "--against original: the records hold no true continuations (reference), or no set has that of each context; name a condition"
        )
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


@dataclass(frozen=True)
class _Made:
    """A pair and how it was made: characters kept of both sides, how they end, and what was removed from each."""

    pair: Pair
    counts: tuple[int, int]
    ending: str
    tells: tuple[Counter, Counter]


class _Maker:
    """Makes the pairs of contexts that can be shown.

    Attributes:
        made: id of a context -> its pairs, condition by condition and length by length.
    """

    def __init__(
        self, sides: Sequence[GenerationSet], opponent: GenerationSet, lengths: Sequence[int], ruler: Words | Tokens
    ):
        self.names, self.against = [side.name for side in sides], opponent.name
        self.texts = [{text.id: text for text in found.texts} for found in (*sides, opponent)]
        self.lengths, self.ruler = lengths, ruler
        self.made: dict[str, list[_Made]] = {}
        self._contexts: set[str | tuple[int, ...]] = set()

    def add(self, name: str) -> str | None:
        """Make the pairs of a context; why it cannot be shown, as `_unfit` says it, or None."""
        found = [texts[name] for texts in self.texts]
        context = " ".join(_read(without_tells(found[0].context)[0])).casefold() or found[0].context_ids
        if context in self._contexts:
            return "continue a context that is in the study under another id"
        if self.against == ORIGINAL and not all(goes_on_as(t.reference, found[-1].text) for t in found if t.reference):
            return "have another true continuation in one set than in another"
        if (reason := _unfit(found, self.lengths, self.ruler)) is not None:
            return reason
        made = [
            self._pair(condition, text, found[-1], length)
            for condition, text in zip(self.names, found, strict=False)
            for length in self.lengths
        ]
        if any(_read(one.pair.text) == _read(one.pair.other) for one in made):
            return "read the same on both sides"
        self.made[name] = made
        self._contexts |= {context} if context else set()  # texts that continue nothing have no context in common
        return None

    def _pair(self, condition: str, text: GeneratedText, other: GeneratedText, length: int) -> _Made:
        budget = length - self.ruler.context(text)
        own, others = (without_tells(self.ruler.of_text(t.text, t.ids).start(budget)) for t in (text, other))
        cut = cut_alike((own[0], others[0]))
        context, _ = without_tells(text.context)
        pair = Pair(condition, self.against, text.source, text.id, length, context, *cut.texts)
        return _Made(pair, cut.counts, cut.ending, (own[1], others[1]))


def _read(text: str) -> list[str]:
    """The words that are seen of a text, however its spaces and accents are written."""
    return unicodedata.normalize("NFC", text).split()


def _check(pair: Pair, rng: np.random.Generator) -> Pair | None:
    """The opponent's text against its own words in random order; None where more than half of them stay what they were, as of a
    text that repeats one word."""
    own = pieces(pair.other)
    there = [piece.lstrip() for piece in own]
    moved = [there[i] for i in rng.permutation(len(own))]
    if 2 * sum(a != b for a, b in zip(there, moved, strict=True)) < len(own):
        return None
    spaces = [" " if piece[0].isspace() else "" for piece in own]
    shuffled = "".join(space + word for space, word in zip(spaces, moved, strict=True))
    return Pair(SHUFFLED, pair.against, pair.source, pair.context_id, pair.length, pair.context, shuffled, pair.other)

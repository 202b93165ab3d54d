"""What is one line of a table, and which lines continue the same contexts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..errors import UserError
from ..records import GenerationSet


@dataclass(frozen=True)
class Condition:
    """What is one line of a table: the sets of one model and policy, several when it was run with several seeds.

    The sets hold the same contexts in the same order. With `is_original` they are the true continuations.
    """

    name: str
    sets: tuple[GenerationSet, ...]
    is_original: bool = False

    @classmethod
    def of(cls, name: str, sets: Sequence[GenerationSet]) -> "Condition":
        """Align the sets of several seeds by context.

        Raises:
            UserError: when they do not hold the same contexts.
        """
        first, aligned = sets[0], [sets[0]]
        for other in sets[1:]:
            require_same_contexts(first, other, f"group {name!r} takes several seeds as one condition")
            texts = {text.id: text for text in other.texts}
            aligned.append(replace(other, texts=tuple(texts[i] for i in first.ids)))
        return cls(name, tuple(aligned))

    @property
    def first(self) -> GenerationSet:
        return self.sets[0]

    @property
    def model_key(self) -> tuple | None:
        """What decides the scores `of_model`: the models and the contexts; None where the sets do not say."""
        keys = tuple(model_and_contexts(texts) for texts in self.sets)
        return None if None in keys else keys

    @cached_property
    def contexts(self) -> np.ndarray:
        """(texts,) integers: texts of one context have one number, in order of appearance."""
        numbers: dict = {}
        keys = [text.context_ids or text.context or text.id for text in self.first.texts]
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys])

    @property
    def distinct_contexts(self) -> int:
        return int(self.contexts.max()) + 1

    @property
    def empty(self) -> int:
        """Continuations without a token, over all seeds."""
        return sum(text.is_empty for texts in self.sets for text in texts.texts)


def model_and_contexts(texts: GenerationSet) -> tuple | None:
    """Which model a set is of, and which contexts it continues, as its manifest says; None where it does not say."""
    facts = tuple(texts.manifest.get(key) for key in ("model", "model_fingerprint", "contexts_fingerprint"))
    return None if None in facts else facts


def one_per_model(conditions: Sequence[Condition]) -> dict[str, Condition]:
    """Label of the model -> the first condition of each model: the others are other policies of it.

    The label is the condition's name without its policy, unless two models would share it.
    """
    first: dict[tuple, Condition] = {}
    for condition in conditions:
        if condition.model_key is not None:
            first.setdefault(condition.model_key, condition)
    names = [(c.name.removesuffix(f" {c.first.policy}"), c.name) for c in first.values()]
    return {
        f"{short if sum(short in pair for pair in names) == 1 else whole} (model)": condition
        for (short, whole), condition in zip(names, first.values(), strict=True)
    }


def originals(conditions: Sequence[Condition]) -> list[Condition]:
    """The true continuations, once for each set of contexts."""
    found: list[tuple[GenerationSet, Condition]] = []
    for condition in conditions:
        original = condition.first.original()
        if original is None or any(same_contexts(condition.first, other) for other, _ in found):
            continue
        name = original.name if not found else f"{original.name} of {condition.name}"
        found.append((condition.first, Condition(name, (original,), is_original=True)))
    return [condition for _, condition in found]


def check_names(conditions: Sequence[Condition]) -> None:
    """Refuse two conditions of one name, and one that is named as true continuations or the scores of a model are.

    Raises:
        UserError: naming it.
    """
    names = [condition.name for condition in conditions]
    taken = {*one_per_model(conditions), *(condition.name for condition in originals(conditions))}
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two sets are named {name!r}: write NAME=WHERE to tell them apart")
        if name in taken:
            raise UserError(
                f"a line of the table is called {name!r} already: write NAME=WHERE to name the set otherwise"
            )


def same_contexts(a: GenerationSet, b: GenerationSet) -> bool:
    """Whether two sets continue the same contexts, whatever their order."""
    return _contexts(a) == _contexts(b)


def with_other_contexts(base: GenerationSet, conditions: Sequence[Condition]) -> dict[str, list[str]]:
    """Why conditions cannot stand beside `base`, as "because …" goes on -> their names."""
    found: dict[str, list[str]] = {}
    for condition in conditions:
        if not same_contexts(base, condition.first):
            known = _are_known(base) and _are_known(condition.first)
            why = "their contexts are others" if known else "without ids or contexts nothing pairs their texts"
            found.setdefault(why, []).append(condition.name)
    return found


def _contexts(texts: GenerationSet) -> dict[str, object]:
    return {text.id: text.context or text.context_ids or text.unknown for text in texts.texts}


def _are_known(texts: GenerationSet) -> bool:
    return all(text.unknown is None for text in texts.texts)


def require_same_contexts(a: GenerationSet, b: GenerationSet, why: str) -> None:
    """Raise UserError, which begins with `why`, when two sets continue different contexts."""
    mine, theirs = _contexts(a), _contexts(b)
    if mine == theirs:
        return
    if not (_are_known(a) and _are_known(b)):
        raise UserError(
            f"{why}, and nothing pairs the texts of {a.name!r} and {b.name!r}: give each an id or its context"
        )
    missing = [name for name in mine if name not in theirs] or [name for name in theirs if name not in mine]
    what = f"context {missing[0]!r} is only in one of them" if missing else "the texts of their contexts differ"
    raise UserError(f"{why}, but {a.name!r} and {b.name!r} have different ones: {what}")

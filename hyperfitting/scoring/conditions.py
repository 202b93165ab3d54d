"""What is one line of a table, and which lines continue the same contexts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    short = [condition.name.removesuffix(f" {condition.first.policy}") for condition in first.values()]
    return {
        f"{name if short.count(name) == 1 else condition.name} (model)": condition
        for name, condition in zip(short, first.values(), strict=True)
    }


def same_contexts(a: GenerationSet, b: GenerationSet) -> bool:
    """Whether two sets continue the same contexts, whatever their order."""
    return _contexts(a) == _contexts(b)


def _contexts(texts: GenerationSet) -> dict[str, object]:
    return {text.id: text.context or text.context_ids for text in texts.texts}


def require_same_contexts(a: GenerationSet, b: GenerationSet, why: str) -> None:
    """Raise UserError, which begins with `why`, when two sets continue different contexts."""
    mine, theirs = _contexts(a), _contexts(b)
    if mine == theirs:
        return
    missing = [name for name in mine if name not in theirs] or [name for name in theirs if name not in mine]
    what = f"context {missing[0]!r} is only in one of them" if missing else "the texts of their contexts differ"
    raise UserError(f"{why}, but {a.name!r} and {b.name!r} have different ones: {what}")

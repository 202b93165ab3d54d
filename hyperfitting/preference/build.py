"""A study made of generations: its pairs, who is asked what, and what it says of itself."""

import contextlib
import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .. import __version__
from ..builtin import resolve
from ..codec import Codec, load_codec
from ..codec.words import has_spaceless_script
from ..errors import UserError
from ..files import lock_folder
from ..options import Options
from ..scoring.conditions import Condition
from .assignment import Plan, assign
from .cutting import Tokens, Words
from .database import BESIDE, NAME
from .pairs import Drawn, draw_pairs
from .study import Study

OPTIONS = "options.yaml"


def check_free(folder: Path, options: Options) -> None:
    """Raise UserError where a study cannot be made, before anything is read: nothing is replaced that no build wrote."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output_dir {folder} is a file")
    if (folder / NAME).exists():
        raise UserError(
            f"{folder} holds a study, which is never replaced: votes may be in it; set another --output_dir"
        )
    for left in (folder / f"{NAME}{suffix}" for suffix in BESIDE):
        if left.exists():
            raise UserError(
                f"{left} belongs to a study whose {NAME} is not there: votes may be in it, and it would spoil another one; set another "
                "--output_dir"
            )
    if (folder / OPTIONS).exists() and not options.wrote(folder / OPTIONS):
        raise UserError(f"{folder} holds {OPTIONS}, which no build wrote: set another --output_dir")


def build(
    folder: Path,
    conditions: Sequence[Condition],
    against: str,
    lengths: Sequence[int],
    codec: Codec | None,
    num_contexts: int | None,
    plan: Plan,
    most_failed: float,
    options: Options,
) -> Study:
    """Draw a study and write it, and with it `options`, as they were given.

    Args:
        codec: counts tokens; None: that of the model of all sets where it is on this machine, else words are counted.
        most_failed: share of the check items; an annotator who fails more of them is left out of the table's second part.

    Raises:
        UserError: of `draw_pairs` and `assign`, or another build writes to the folder.
    """
    ruler = choose_ruler(conditions, codec)
    drawn = draw_pairs(conditions, against, lengths, ruler, num_contexts, plan.seed)
    if plan.checks and len(drawn.unchecked) == len(drawn.checks):
        raise UserError(
            f"no text of {drawn.pairs[0].against!r} can be a check item: with its words shuffled it reads much the same; "
            "do without with --checks 0, or compare with another condition"
        )
    lists = assign(drawn.grid, drawn.checks, plan)
    facts = _facts(drawn, conditions, lengths, ruler, plan, most_failed)
    with contextlib.closing(lock_folder(folder, "output_dir")):
        check_free(folder, options)  # another build may have ended meanwhile
        options.save(folder / OPTIONS)
        return Study.create(folder, drawn.pairs, lists, facts)


def choose_ruler(conditions: Sequence[Condition], codec: Codec | None) -> Words | Tokens:
    """What both sides of a pair are measured in: tokens where one tokenizer made all ids, or one was given; else words."""
    sets = [texts for condition in conditions for texts in condition.sets]
    made_with = {texts.manifest.get("tokenizer_fingerprint") for texts in sets}
    whole = all(texts.has_tokens for texts in sets)
    references = all(text.reference_ids or not text.reference for texts in sets for text in texts.texts)
    if codec is None:
        model = sets[0].manifest.get("model")
        known = whole and references and None not in made_with and len(made_with) == 1 and model
        if not known or not Path(resolve(model)).exists():
            shown = (part or "" for texts in sets for text in texts.texts for part in (text.text, text.reference))
            return Words(any(map(has_spaceless_script, shown)))
        codec = load_codec(model)
    return Tokens(codec, own_ids=whole and references and made_with == {codec.fingerprint})


def _facts(
    drawn: Drawn, conditions: Sequence[Condition], lengths: Sequence[int], ruler, plan: Plan, most_failed
) -> dict:
    """What a study says of itself, for status and table."""
    shown = list(dict.fromkeys(pair.condition for pair in drawn.pairs[: drawn.grid.size]))
    manifests = {condition.name: condition.first for condition in conditions}
    return {
        "hyperfitting": __version__,
        "made": datetime.date.today().isoformat(),
        "conditions": shown,
        "against": drawn.pairs[0].against,
        "policies": {name: manifests[name].policy for name in shown},
        "models": {name: manifests[name].manifest.get("model") for name in shown},
        "lengths": list(lengths),
        "unit": ruler.name,
        "contexts": len(drawn.checks),
        "sources": Counter(drawn.pairs[place].source for place in drawn.grid[0, 0]),
        "plan": asdict(plan),
        "rule": {"most_failed": most_failed},
        "cut": _cut(drawn),
        "tells": drawn.tells,
        "left_out": drawn.left_out,
        "unchecked": len(drawn.unchecked),
    }


def _cut(drawn: Drawn) -> dict:
    """How both sides of the pairs of the table were cut alike, and how far they still differ."""
    pairs = [counts for of_length in drawn.characters.values() for counts in of_length]
    return {
        "alike": "characters",
        "characters": {str(length): float(np.mean(counts)) for length, counts in drawn.characters.items()},
        "differing": sum(own != other for own, other in pairs),
        "widest": max(abs(own - other) for own, other in pairs),
        "endings": drawn.endings,
    }

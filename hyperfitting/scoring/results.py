"""All that one call of launch/score.py finds out, and how it is written to scores.json."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UserError
from ..records import GenerationSet
from .cells import Section
from .conditions import Condition, check_names, originals, same_contexts, with_other_contexts
from .descriptions import NEEDS
from .differences import Difference, compare
from .metrics import find_metric, without_doubles
from .quotes import Quote, longest_quotes
from .scores import Score, score, ttr_curve
from .text_metrics import TextMetric

if TYPE_CHECKING:  # they import torch, which texts can be scored without
    from ..corpus import TrainRows
    from .model_scores import ModelScores

Scored = dict[str, dict[str, Score]]  # condition -> metric -> score

LISTED_QUOTES = 50


@dataclass(frozen=True)
class Results:
    """Scores of every condition and of the original texts.

    Attributes:
        conditions: those that were given, then the true continuations of their contexts.
        by_source: condition -> corpus of the contexts -> metric -> score, where there are several corpora.
        differences: paired, from the baseline.
        columns: metrics of the table.
        notes: sentences that belong under it.
        sections: further tables, such as on the annotators of a study.
        quotes: condition -> quotations of training rows in the texts of its first seed, longest first.
    """

    conditions: list[Condition]
    scored: Scored
    by_source: dict[str, Scored]
    differences: list[Difference]
    columns: list[str]
    notes: list[str]
    curves: dict[str, dict]
    quotes: dict[str, list[Quote]] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    train: "TrainRows | None" = None

    def to_json(self) -> dict:
        """What scores.json holds: numbers, intervals, n and signatures; the same for the same files."""
        from .. import __version__

        return {
            "hyperfitting": __version__,
            "conditions": [self._condition_json(condition) for condition in self.conditions],
            "differences": [asdict(difference) for difference in self.differences],
            "notes": self.notes,
            "sections": [section.to_json() for section in self.sections],
        }

    def _condition_json(self, condition: Condition) -> dict:
        name, first = condition.name, condition.first
        entry: dict = {"name": name, "policy": first.policy, "model": first.manifest.get("model")}
        entry |= {"contexts": len(first.texts), "seeds": len(condition.sets), "empty": condition.empty}
        if condition.distinct_contexts < len(first.texts):
            entry["distinct_contexts"] = condition.distinct_contexts
        entry["scores"] = {m: _score_json(s) for m, s in self.scored[name].items()}
        if name in self.by_source:
            parts = self.by_source[name].items()
            entry["by_source"] = {source: {m: _score_json(s) for m, s in scores.items()} for source, scores in parts}
        entry["curves"] = self.curves[name]
        if name in self.quotes:
            overlap = self.scored[name].get("overlap")  # with --metrics it may not have been asked for
            found = np.empty(0) if overlap is None else overlap.measured
            lengths, counts = np.unique(found, return_counts=True)
            entry["overlap_histogram"] = {str(int(x)): int(n) for x, n in zip(lengths, counts, strict=True)}
            entry["quotes"] = [asdict(quote) for quote in self.quotes[name][:LISTED_QUOTES]]
        return entry


def score_conditions(
    conditions: Sequence[Condition],
    metrics: Sequence[str] | None = None,
    baseline: str | None = None,
    train: "TrainRows | None" = None,
    models: "dict[str, ModelScores] | None" = None,
    voted: Scored | None = None,
    mauve_model: str | None = None,
    inception_weights: str | None = None,
    batch_size: int = 8,
    trust_remote_code: bool = False,
    tokenizers: Callable[[GenerationSet], object] = lambda texts: None,
    say: Callable[[str], None] = lambda what: None,
) -> Results:
    """Score all conditions and the true continuations, and compare them with the baseline.

    Args:
        metrics: columns of the table, besides those that models bring. Default: a selection of what can
            be computed.
        baseline: condition that the others are compared with. Default: the first; what has other contexts is then left out.
        models: of `score_with_models`.
        voted: condition -> metric -> score of votes on its texts.
        mauve_model: a causal LM for MAUVE's features; batch_size: its texts in a forward pass; trust_remote_code: run
            modelling code that comes with it.
        inception_weights: a file of InceptionV3's weights, for distances of pictures on its features.
        tokenizers: a set -> its tokenizer or None, to write quotations as text.

    Raises:
        UserError: an impossible metric, a name that is given twice or taken, or contexts that differ from those of a baseline
            that was asked for.
    """
    check_names(conditions)
    models, shown = models or {}, [*conditions, *originals(conditions)]
    of_texts = metrics and [name for name in metrics if isinstance(find_metric(name), TextMetric)]
    scored: Scored = {}
    for condition in shown:
        say(f"scoring {condition.name}")
        if condition.is_original:
            scored[condition.name] = _score_original(condition, of_texts, train.rows if train else None)
        else:
            scored[condition.name] = score(condition.sets, of_texts, train.rows if train else None)
        if condition.name in models:
            scored[condition.name] |= models[condition.name].scores
        scored[condition.name] |= (voted or {}).get(condition.name, {})
    if mauve_model:
        from .mauve import mauve_scores

        for name, found in mauve_scores(conditions, mauve_model, batch_size, trust_remote_code, say).items():
            scored[name][found.metric.name] = found
    if inception_weights:
        from .inception import inception_scores

        for name, measured in inception_scores(conditions, inception_weights, batch_size, say).items():
            scored[name] |= measured
    columns = _columns(scored, metrics)
    compared = [name for name in columns if find_metric(name).paired]
    paired, notes = _comparable(baseline or conditions[0].name, shown, asked=baseline is not None)
    differences = compare(scored, paired, baseline or conditions[0].name, compared) if len(paired) > 1 else []
    curves = {
        c.name: {"ttr_by_position": ttr_curve(c)}
        | ({f"{side}_by_position": curve for side, curve in models[c.name].curves.items()} if c.name in models else {})
        for c in shown
    }
    with_tokens = [c for c in shown if train and c.first.has_tokens]  # true continuations may be words alone
    quotes = {c.name: longest_quotes(c.first, train.rows, tokenizers(c.first)) for c in with_tokens}
    parts = {c.name: by_source(c, scored[c.name]) for c in shown if len(c.first.sources) > 1}
    return Results(
        conditions=shown,
        scored=scored,
        by_source=parts,
        differences=differences,
        columns=columns,
        notes=[*notes, *_notes_on_duplicates(shown)],
        curves=curves,
        quotes=quotes,
        train=train,
    )


def _score_original(condition: Condition, asked: Sequence[str] | None, rows: Sequence[Sequence[int]] | None) -> dict:
    """All that can be measured of the true continuations, and of what was asked for as much as can be."""
    found = score(condition.sets, None, rows)
    for name in asked or ():
        if name not in found:
            with contextlib.suppress(UserError):  # such as overlap of words: a dash in the table
                found |= score(condition.sets, [name], rows)
    return found


def _columns(scored: Scored, asked: Sequence[str] | None) -> list[str]:
    """What was asked for, or a selection of what there is; scores by a model always, because a flag asked for them.

    Raises:
        UserError: a score by a model was asked for, and no model measured it.
    """
    there = without_doubles(name for scores in scored.values() for name in scores)
    selected = sorted((metric for metric in there if metric.column is not None), key=lambda metric: metric.column)
    if asked is None:
        return [metric.name for metric in selected]
    missing = [name for name in asked if not any(name in scores for scores in scored.values())]
    if missing:
        raise UserError(f"metric {missing[0]!r} cannot be computed: it needs {NEEDS[find_metric(missing[0]).needs]}")
    return list(dict.fromkeys([*asked, *(m.name for m in selected if not isinstance(m, TextMetric))]))


def _comparable(baseline: str, shown: list[Condition], asked: bool) -> tuple[list[Condition], list[str]]:
    """The conditions that hold the baseline's contexts, and a note on the others; all of them if a baseline was asked for."""
    base = next(condition for condition in shown if condition.name == baseline)
    if asked:
        return [c for c in shown if not c.is_original or same_contexts(base.first, c.first)], []
    others = with_other_contexts(base.first, shown)
    notes = [f"Not compared with {baseline}, because {why}: {', '.join(names)}." for why, names in others.items()]
    return [condition for condition in shown if same_contexts(base.first, condition.first)], notes


def _notes_on_duplicates(conditions: Sequence[Condition]) -> list[str]:
    """A sentence on each number of contexts that stand there several times, with the conditions."""
    found: dict[tuple[int, int], list[str]] = {}
    for condition in conditions:
        if condition.distinct_contexts < len(condition.first.texts):
            found.setdefault((len(condition.first.texts), condition.distinct_contexts), []).append(condition.name)
    return [
        f"{texts} texts continue only {distinct} different contexts in {', '.join(names)}: those of one context are resampled, and "
        "their signs flipped, together."
        for (texts, distinct), names in found.items()
    ]


def by_source(condition: Condition, scores: dict[str, Score]) -> Scored:
    """Corpus of the contexts -> metric -> score over its texts alone."""
    sources = np.array([text.source for text in condition.first.texts])
    return {
        source: {name: s.of(sources == source) for name, s in scores.items() if s.values.shape[1] == len(sources)}
        for source in condition.first.sources
    }


def _score_json(score: Score) -> dict:
    numbers = {"value": score.value, "low": score.low, "high": score.high, "maximum": score.maximum}
    found = {key: None if number != number else number for key, number in numbers.items()}
    return {**found, "n": score.n, "left_out": score.left_out, "signature": score.signature}

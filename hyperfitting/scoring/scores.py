"""From sets of texts to signed scores: means with intervals over contexts (and seeds)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..codec.words import SPACELESS
from ..errors import UserError
from ..records import GenerationSet, generation_set
from .conditions import Condition
from .crossed import INTERVAL, crossed_interval
from .descriptions import NEEDS, Description
from .metrics import METRICS, PICTURES, WORDS, find_metric
from .pictures import Pictures
from .signature import Signature
from .statistics import RESAMPLES, bootstrap_interval, mean
from .text import ttr_by_position
from .text_metrics import Sequences, TextMetric


@dataclass(frozen=True)
class Score:
    """One number of a table.

    Attributes:
        value, low, high: the mean and its 95 % bootstrap interval; NaN when no text could be measured.
        n: texts that were averaged; left_out: texts that were not (too short for the metric's window, empty).
        signature: definition, unit, interval and version, for a table's caption; `Signature.parse` reads it.
        values: (seeds, texts) float64, NaN where a text is left out; (annotators, texts) of a metric that is `crossed`.
        contexts: (texts,) integers, equal for texts of one context; None: every text has its own.
        maximum: the largest value.
    """

    metric: Description
    value: float
    low: float
    high: float
    n: int
    left_out: int
    signature: str
    values: np.ndarray = field(repr=False)
    contexts: np.ndarray | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        return self.metric.label

    @property
    def measured(self) -> np.ndarray:
        """(n,) float64: the values that are there, of all seeds."""
        return self.values[~np.isnan(self.values)]

    @property
    def maximum(self) -> float:
        return float(self.measured.max()) if self.n else float("nan")

    def of(self, columns: np.ndarray) -> "Score":
        """The same score over some of the texts: (texts,) bool."""
        contexts = None if self.contexts is None else self.contexts[columns]
        return _summarize(self.metric, self.values[:, columns], self.signature, contexts)


def score(
    records: "GenerationSet | Sequence[GenerationSet] | Iterable[dict]",
    metrics: Sequence[str] | None = None,
    train_rows: Sequence[Sequence[int]] | None = None,
) -> dict[str, Score]:
    """Score a set of texts; with several sets (seeds of one condition) intervals resample seeds and contexts.

    Args:
        records: what `GenerationRunner.run` returns, rows of generations.jsonl, or sets of `load_generation_sets`.
        metrics: names of METRICS, with `_words` for words instead of tokens, or of PICTURES. Default: all that the records allow.
        train_rows: rows of token ids, for overlap and Dataset-BLEU.

    Raises:
        UserError: an unknown metric, or one that needs what the records do not hold.

    Example:
        >>> score(records, metrics=["ttr", "rep_4"])["ttr"].value
    """
    sets = _as_sets(records)
    condition = Condition.of(sets[0].name, sets)
    chosen = []
    for name in metrics if metrics is not None else (*METRICS, *WORDS, *PICTURES):
        metric = find_metric(name)
        reason = _cannot(metric, condition, train_rows)
        if reason is None:
            chosen.append(metric)
        elif metrics is not None:
            raise UserError(f"metric {name!r} cannot be computed of {condition.name!r}: {reason}")
    sequences = {
        unit: [_in_unit(texts, unit, train_rows) for texts in condition.sets]
        for unit in sorted({metric.unit for metric in chosen})
    }
    return {
        metric.name: summarize(
            _as_counted(metric, sequences[metric.unit]),
            [metric.compute(texts) for texts in sequences[metric.unit]],
            contexts=condition.contexts,
        )
        for metric in chosen
    }


def summarize(metric: Description, values: Sequence[np.ndarray], contexts: np.ndarray | None = None) -> Score:
    """The score of (texts,) values of each seed or annotator, with its signature; `contexts`: see `Score`."""
    values = np.array(values, dtype=np.float64)
    if metric.crossed:
        return _summarize(metric, values, str(metric.signature(INTERVAL)), contexts)
    over = "contexts" if len(values) == 1 else "seeds and contexts"
    interval = f"bootstrap over {over}, {RESAMPLES} resamples, 95 %"
    return _summarize(metric, values, str(metric.signature(interval)), contexts)


def _summarize(metric: Description, values: np.ndarray, signature: str, contexts: np.ndarray | None) -> Score:
    there = ~np.isnan(values)
    if metric.crossed:
        there = there.any(axis=0)
    n = int(there.sum())
    value, low, high = mean(values), float("nan"), float("nan")
    if n:
        low, high = (crossed_interval if metric.crossed else bootstrap_interval)(values, contexts=contexts)
    if metric.exponential:
        value, low, high = (float(np.exp(min(number, 700.0))) for number in (value, low, high))
    return Score(
        metric=metric,
        value=value,
        low=low,
        high=high,
        n=n,
        left_out=there.size - n,
        signature=signature,
        values=values,
        contexts=contexts,
    )


def ttr_curve(condition: Condition) -> list[float]:
    """Mean TTR of each window of 32 tokens (words where there are no tokens), as far as every text reaches."""
    unit = "tokens" if all(texts.has_tokens for texts in condition.sets) else "words"
    curves = [ttr_by_position(text) for texts in condition.sets for text in Sequences(texts, unit).texts if text]
    reach = min(map(len, curves), default=0)
    return np.mean([curve[:reach] for curve in curves], axis=0).tolist() if reach else []


def _as_counted(metric: TextMetric, sequences: Sequence[Sequences | Pictures]) -> TextMetric:
    """The metric, whose signature says what a word is where that is not what stands between spaces."""
    if metric.unit != "words" or not any(texts.spaceless for texts in sequences):
        return metric
    return replace(metric, definition=Signature({"word": SPACELESS, **metric.definition.fields}))


def _in_unit(texts: GenerationSet, unit: str, train_rows) -> Sequences | Pictures:
    return Pictures(texts, train_rows) if unit == "pixels" else Sequences(texts, unit, train_rows)


def _as_sets(records) -> list[GenerationSet]:
    if isinstance(records, GenerationSet):
        return [records]
    records = list(records)
    if records and isinstance(records[0], GenerationSet):
        return records
    return [generation_set(records)]


def _cannot(metric: Description, condition: Condition, train_rows) -> str | None:
    """Why a metric cannot be computed of texts alone, or None."""
    first, needs = condition.first, f"it needs {NEEDS[metric.needs]}" if metric.needs else None
    if not isinstance(metric, TextMetric):
        return needs
    if metric.unit == "tokens" and not all(texts.has_tokens for texts in condition.sets):
        return "its texts have no token ids: give --tokenizer, or ask for the metric with _words"
    if metric.unit == "words" and not all(texts.has_words for texts in condition.sets):
        return "its token ids have no text: give --tokenizer"
    if metric.unit == "pixels" and not all("pixels" in texts.manifest for texts in condition.sets):
        return "its tokens are no pixels"
    references = [t.reference if metric.unit == "words" else t.reference_ids for t in first.texts]
    silent = sum(text.ended is None for texts in condition.sets for text in texts.texts)
    if metric.needs == "finish_reasons" and silent:
        return f"{needs}, and {silent} of its texts have none (finish_reason: eos, stop or length)"
    missing = {
        "train_rows": train_rows is None,
        "pairs": len(first.texts) < 2,
        "references": not any(references),
    }
    return needs if missing.get(metric.needs) else None

"""From sets of texts to signed scores: means with intervals over contexts (and seeds), and paired differences."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import UserError
from ..records import GenerationSet, generation_set
from .metrics import METRICS, WORDS, Metric, Sequences, find_metric
from .statistics import PERMUTATIONS, RESAMPLES, bootstrap_interval, holm, mean, paired_interval, permutation_p
from .text import ttr_by_position

QUOTE_LENGTH = 8  # tokens from which a quotation is listed


@dataclass(frozen=True)
class Score:
    """One number of a table.

    Attributes:
        value, low, high: the mean and its 95 % bootstrap interval; NaN when no text could be measured.
        n: texts that were averaged; left_out: texts that were not (too short for the metric's window, empty).
        values: (seeds, contexts) float64, NaN where a text is left out.
        maximum: the largest of them.
        signature: definition, unit, interval and version, for a table's caption.
        exponential: value, low and high are the exponential of what the values give (perplexity).
    """

    metric: str
    label: str
    value: float
    low: float
    high: float
    n: int
    left_out: int
    signature: str
    values: np.ndarray = field(repr=False)
    digits: int = 3
    exponential: bool = False

    @property
    def maximum(self) -> float:
        return float(np.nanmax(self.values)) if self.n else float("nan")

    def of(self, columns: np.ndarray) -> "Score":
        """The same score over some of the contexts: (contexts,) bool."""
        return _summarize(
            self.metric, self.label, self.values[:, columns], self.signature, self.digits, self.exponential
        )


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
            _require_same_contexts(first, other, f"group {name!r} takes several seeds as one condition")
            texts = {text.id: text for text in other.texts}
            aligned.append(replace(other, texts=tuple(texts[i] for i in first.ids)))
        return cls(name, tuple(aligned))

    @property
    def first(self) -> GenerationSet:
        return self.sets[0]

    @property
    def empty(self) -> int:
        """Continuations without a token, over all seeds."""
        return sum(text.is_empty for texts in self.sets for text in texts.texts)


@dataclass(frozen=True)
class Difference:
    """A condition minus the baseline on the same contexts.

    Attributes:
        p: two-sided sign-flip permutation p-value over contexts; p_holm: corrected over all differences of the table.
        n: contexts that both could measure.
    """

    condition: str
    baseline: str
    metric: str
    value: float
    low: float
    high: float
    p: float
    n: int
    p_holm: float = float("nan")


def score(
    records: "GenerationSet | Sequence[GenerationSet] | Iterable[dict]",
    metrics: Sequence[str] | None = None,
    train_rows: Sequence[Sequence[int]] | None = None,
) -> dict[str, Score]:
    """Score a set of texts; with several sets (seeds of one condition) intervals resample seeds and contexts.

    Args:
        records: what `GenerationRunner.run` returns, rows of generations.jsonl, or sets of `load_generation_sets`.
        metrics: names of METRICS, with `_words` for words instead of tokens. Default: all that the records allow.
        train_rows: rows of token ids, for overlap and Dataset-BLEU.

    Raises:
        UserError: an unknown metric, or one that needs what the records do not hold.

    Example:
        >>> score(records, metrics=["ttr", "rep_4"])["ttr"].value
    """
    sets = _as_sets(records)
    condition = Condition.of(sets[0].name, sets)
    chosen = []
    for name in metrics if metrics is not None else (*METRICS, *WORDS):
        metric = find_metric(name)
        reason = _cannot(metric, condition, train_rows)
        if reason is None:
            chosen.append(metric)
        elif metrics is not None:
            raise UserError(f"metric {name!r} cannot be computed of {condition.name!r}: {reason}")
    sequences = {
        unit: [Sequences(texts, unit, train_rows) for texts in condition.sets]
        for unit in sorted({metric.unit for metric in chosen})
    }
    return {
        metric.name: summarize(
            *(metric.name, metric.label, [metric.compute(s) for s in sequences[metric.unit]]),
            *(f"{metric.unit}|{metric.definition}", metric.digits),
        )
        for metric in chosen
    }


def summarize(
    metric: str,
    label: str,
    values: Sequence[np.ndarray],
    definition: str,
    digits: int = 3,
    exponential: bool = False,
) -> Score:
    """The score of (contexts,) values of each seed, with its signature."""
    from .. import __version__

    values = np.array(values, dtype=np.float64)
    over = "contexts" if len(values) == 1 else "seeds and contexts"
    bootstrap = f"bootstrap over {over}, {RESAMPLES} resamples, 95 %"
    signature = f"{metric}|{definition}|{bootstrap}|hyperfitting {__version__}"
    return _summarize(metric, label, values, signature, digits, exponential)


def _summarize(metric: str, label: str, values: np.ndarray, signature: str, digits: int, exponential: bool) -> Score:
    n = int((~np.isnan(values)).sum())
    numbers = (mean(values), *bootstrap_interval(values)) if n else (float("nan"),) * 3
    if exponential:
        numbers = tuple(float(np.exp(min(number, 700.0))) for number in numbers)
    return Score(metric, label, *numbers, n, values.size - n, signature, values, digits, exponential)


def compare(
    scored: dict[str, dict[str, Score]], conditions: Sequence[Condition], baseline: str, metrics: Sequence[str]
) -> list[Difference]:
    """Every condition minus the baseline, by metric; p-values are corrected (Holm) over all of them.

    Args:
        scored: condition -> metric -> score.

    Raises:
        UserError: when a condition does not hold the baseline's contexts.
    """
    by_name = {condition.name: condition for condition in conditions}
    base, found = by_name[baseline], []
    for condition in conditions:
        if condition is base:
            continue
        _require_same_contexts(base.first, condition.first, "a paired difference needs the same contexts")
        place = {name: index for index, name in enumerate(condition.first.ids)}
        order = [place[name] for name in base.first.ids]
        for metric in metrics:
            if metric not in scored[condition.name] or metric not in scored[baseline]:
                continue
            a, b = scored[condition.name][metric].values[:, order], scored[baseline][metric].values
            both = ~(np.isnan(a).all(0) | np.isnan(b).all(0))
            if not both.any():
                continue
            differences = np.nanmean(a[:, both], axis=0) - np.nanmean(b[:, both], axis=0)
            interval = paired_interval(a[:, both], b[:, both])
            p = permutation_p(differences)
            value = mean(a[:, both]) - mean(b[:, both])
            found.append(Difference(condition.name, baseline, metric, value, *interval, p, int(both.sum())))
    corrected = holm([difference.p for difference in found])
    return [replace(difference, p_holm=p) for difference, p in zip(found, corrected, strict=True)]


PAIRED = f"mean over contexts; paired bootstrap, {RESAMPLES} resamples, 95 %; {PERMUTATIONS} sign flips, Holm"


def same_contexts(a: GenerationSet, b: GenerationSet) -> bool:
    """Whether two sets continue the same contexts, whatever their order."""
    return _contexts(a) == _contexts(b)


def ttr_curve(condition: Condition) -> list[float]:
    """Mean TTR of each window of 32 tokens (words where there are no tokens), as far as every text reaches."""
    unit = "tokens" if all(texts.has_tokens for texts in condition.sets) else "words"
    curves = [ttr_by_position(text) for texts in condition.sets for text in Sequences(texts, unit).texts if text]
    reach = min(map(len, curves), default=0)
    return np.mean([curve[:reach] for curve in curves], axis=0).tolist() if reach else []


@dataclass(frozen=True)
class Quote:
    """A passage of `length` tokens, from `start` of the text of context `id`, that is also in training row `row`.

    Attributes:
        text: the passage, and characters: where it stands in the whole text; None without a tokenizer.
    """

    id: str
    start: int
    length: int
    row: int
    row_start: int
    text: str | None = None
    characters: tuple[int, int] | None = None


def longest_quotes(texts: GenerationSet, train_rows: Sequence[Sequence[int]], tokenizer=None) -> list[Quote]:
    """The longest quotation of each text, those of at least 8 tokens, longest first."""
    found, quotes = Sequences(texts, "tokens", train_rows).overlaps, []
    for index, text in enumerate(texts.texts):
        start, length = int(found.start[index]), int(found.length[index])
        if length < QUOTE_LENGTH:
            continue
        passage = characters = None
        if tokenizer is not None:
            before, whole = (tokenizer.decode(text.ids[:end]) for end in (start, start + length))
            passage, characters = whole[len(before) :], (len(before), len(whole))
        row = int(found.row[index]), int(found.row_start[index])
        quotes.append(Quote(text.id, start, length, *row, passage, characters))
    return sorted(quotes, key=lambda quote: (-quote.length, quote.id))


def _as_sets(records) -> list[GenerationSet]:
    if isinstance(records, GenerationSet):
        return [records]
    records = list(records)
    if records and isinstance(records[0], GenerationSet):
        return records
    return [generation_set(records)]


def _cannot(metric: Metric, condition: Condition, train_rows) -> str | None:
    """Why a metric cannot be computed, or None."""
    first = condition.first
    if metric.unit == "tokens" and not all(texts.has_tokens for texts in condition.sets):
        return "its texts have no token ids: give --tokenizer, or ask for the metric with _words"
    if metric.unit == "words" and not all(texts.has_words for texts in condition.sets):
        return "its token ids have no text: give --tokenizer"
    if metric.needs == "train_rows" and train_rows is None:
        return "it needs the training rows: give --train_rows"
    if metric.needs == "pairs" and len(first.texts) < 2:
        return "it needs at least two texts"
    references = [t.reference_ids if metric.unit == "tokens" else t.reference for t in first.texts]
    if metric.needs == "references" and not any(references):
        return "its records hold no true continuations (reference_ids)"
    return None


def _contexts(texts: GenerationSet) -> dict[str, object]:
    return {text.id: text.context or text.context_ids for text in texts.texts}


def _require_same_contexts(a: GenerationSet, b: GenerationSet, why: str) -> None:
    mine, theirs = _contexts(a), _contexts(b)
    if mine == theirs:
        return
    missing = [name for name in mine if name not in theirs] or [name for name in theirs if name not in mine]
    what = f"context {missing[0]!r} is only in one of them" if missing else "the texts of their contexts differ"
    raise UserError(f"{why}, but {a.name!r} and {b.name!r} have different ones: {what}")

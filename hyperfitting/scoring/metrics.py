"""The metrics by name: what each computes of a set of texts, in which unit, and the definition that its signature carries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import UserError
from ..options import nearest
from ..records import GenerationSet
from . import text as text_metrics
from .bleu import dataset_bleu, reference_bleu, self_bleu
from .overlap import Overlaps, longest_overlaps


class Sequences:
    """The texts of a set as sequences of integers in one unit; words are whitespace-separated and numbered.

    Attributes:
        texts, references: (n,) lists of integers; a reference is None where there is none.
        filled: (n,) bool, texts that are not empty. What is empty no metric but length, eos_rate and ttr_compat averages.
        train_rows: rows of token ids, or None.
    """

    def __init__(self, texts: GenerationSet, unit: str, train_rows: Sequence[Sequence[int]] | None = None):
        self.set, self.train_rows = texts, train_rows
        if unit == "tokens":
            self.texts = [list(t.ids) for t in texts.texts]
            self.references = [None if t.reference_ids is None else list(t.reference_ids) for t in texts.texts]
        else:
            numbers: dict[str, int] = {}
            self.texts = [_numbered(t.text, numbers) for t in texts.texts]
            self.references = [None if t.reference is None else _numbered(t.reference, numbers) for t in texts.texts]
        self.filled = np.array([len(t) > 0 for t in self.texts])
        self._overlaps: Overlaps | None = None

    @property
    def overlaps(self) -> Overlaps:
        """Longest quotations of training rows, found once."""
        if self._overlaps is None:
            self._overlaps = longest_overlaps(self.texts, self.train_rows)
        return self._overlaps

    def of_filled(self, compute: Callable[[list], np.ndarray]) -> np.ndarray:
        """`compute` on the texts that are not empty; NaN for the others."""
        values = np.full(len(self.texts), np.nan)
        texts = [text for text in self.texts if text]
        if texts:
            values[self.filled] = compute(texts)
        return values


@dataclass(frozen=True)
class Metric:
    """One number per text, whose mean is the score.

    Attributes:
        compute: Sequences -> (n,) float64, NaN for a text that is left out (too short, empty).
        definition: what distinguishes it from its namesakes, for the signature.
        needs: "train_rows", "references", "pairs" (two texts), or None.
        has_words: whether `NAME_words` exists.
    """

    name: str
    label: str
    definition: str
    compute: Callable[[Sequences], np.ndarray]
    needs: str | None = None
    has_words: bool = True
    digits: int = 3
    unit: str = "tokens"


def _numbered(text: str, numbers: dict[str, int]) -> list[int]:
    return [numbers.setdefault(word, len(numbers)) for word in text.split()]


def _each(function: Callable) -> Callable[[Sequences], np.ndarray]:
    def compute(sequences: Sequences) -> np.ndarray:
        values = [function(text) for text in sequences.texts]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    return compute


def _loop_rate(sequences: Sequences) -> np.ndarray:
    return sequences.of_filled(lambda texts: [text_metrics.ends_in_loop(text) for text in texts])


def _ttr_compat(sequences: Sequences) -> np.ndarray:
    ended = [text.ended for text in sequences.set.texts]
    longest = max(len(text) + end for text, end in zip(sequences.texts, ended, strict=True))
    return np.array([text_metrics.ttr_compat(text, longest) for text in sequences.texts])


def _self_bleu(n: int) -> Callable[[Sequences], np.ndarray]:
    return lambda sequences: sequences.of_filled(lambda texts: self_bleu(texts, n) if len(texts) > 1 else np.nan)


def _dataset_bleu(brevity_penalty: bool) -> Callable[[Sequences], np.ndarray]:
    return lambda s: s.of_filled(lambda texts: dataset_bleu(texts, s.train_rows, 4, brevity_penalty))


def _reference_bleu(sequences: Sequences) -> np.ndarray:
    pairs = zip(sequences.texts, sequences.references, strict=True)
    return np.array([reference_bleu(text, ref) if text and ref else np.nan for text, ref in pairs])


def _metrics() -> list[Metric]:
    bleu = "smoothing:method1"
    found = [
        Metric("ttr", "TTR", f"window:last {text_metrics.TTR_WINDOW}", _each(text_metrics.ttr)),
        Metric("ttr_whole", "TTR, whole text", "window:all", _each(text_metrics.ttr_whole)),
        Metric(
            *(
                "ttr_compat",
                "TTR, paper's script",
                f"window:last {text_metrics.TTR_WINDOW}, ends padded, short texts averaged",
            ),
            *(_ttr_compat, None, False),
        ),
    ]
    found += [
        Metric(f"distinct_{n}", f"distinct-{n}", "n-grams:all", _each(lambda t, n=n: text_metrics.distinct_n(t, n)))
        for n in (1, 2, 3, 4)
    ]
    for n in (2, 3, 4):
        found.append(Metric(f"rep_{n}", f"rep-{n}", "n-grams:all", _each(lambda t, n=n: text_metrics.rep_n(t, n))))
        compute = _each(lambda t, n=n: text_metrics.rep_n_compat(t, n))
        found.append(
            Metric(f"rep_{n}_compat", f"rep-{n}, SimCTG's script", "n-grams:without the last, per text", compute)
        )
    found += [
        Metric("diversity", "diversity", "n-grams:all, n:2-4", _each(text_metrics.diversity)),
        Metric(
            *("diversity_compat", "diversity, SimCTG's script", "n-grams:without the last, per text, n:2-4"),
            _each(text_metrics.diversity_compat),
        ),
        Metric("loop_rate", "loops", "phrase:>=3 at the end, twice", _loop_rate),
        Metric("loop_start", "loop starts at", "phrase:>=3, texts that loop", _each(text_metrics.loop_start), digits=1),
    ]
    found += [
        Metric(f"self_bleu_{n}", f"Self-BLEU-{n}", f"references:all others, {bleu}", _self_bleu(n), "pairs")
        for n in (1, 2, 3, 4, 5)
    ]
    rows = "references:training rows"
    found += [
        Metric("dataset_bleu_4", "Dataset-BLEU-4", f"{rows}, {bleu}", _dataset_bleu(True), "train_rows", False),
        Metric(
            *("dataset_bleu_4_no_penalty", "Dataset-BLEU-4, no brevity penalty", f"{rows}, {bleu}, brevity:none"),
            *(_dataset_bleu(False), "train_rows", False),
        ),
        Metric(
            *("overlap", "overlap", "longest run that is in one training row"),
            *(lambda s: s.of_filled(lambda _: s.overlaps.length[s.filled]), "train_rows", False, 1),
        ),
        Metric("reference_bleu_4", "BLEU-4", f"reference:true continuation, {bleu}", _reference_bleu, "references"),
        Metric("length", "length", "end not counted", _each(len), digits=1),
        Metric(
            *("eos_rate", "ended", "finish_reason:eos"),
            *(lambda s: np.array([float(t.ended) for t in s.set.texts]), None, False),
        ),
    ]
    return found


METRICS = {metric.name: metric for metric in _metrics()}
WORDS = tuple(f"{name}_words" for name in ("ttr", "rep_4", "diversity", "loop_rate", "self_bleu_4", "length"))


def metric_descriptions() -> list[Metric]:
    """Every metric that there is; those of words stand under their namesakes of tokens."""
    return list(METRICS.values())


def find_metric(name: str) -> Metric:
    """The metric `name`, or with the suffix `_words` the one that counts words instead of tokens.

    Raises:
        UserError: an unknown name, with the nearest known text_metrics.
    """
    if name in METRICS:
        return METRICS[name]
    base = METRICS.get(name.removesuffix("_words"))
    if base is not None and base.has_words:
        return replace(base, name=name, label=f"{base.label} (words)", unit="words")
    known = [*METRICS, *(f"{n}_words" for n, metric in METRICS.items() if metric.has_words)]
    raise UserError(f"unknown metric {name!r}{nearest(name, known)}: {', '.join(METRICS)}")

"""The metrics of texts alone: what each computes, and the definition that its signature carries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..codec.words import has_spaceless_script, words
from ..records import GenerationSet
from .bleu import dataset_bleu, reference_bleu, self_bleu
from .descriptions import Curve, Description, Histogram
from .overlap import Overlaps, longest_overlaps
from .signature import Signature
from .text import (
    SHADE_WINDOW,
    TTR_WINDOW,
    distinct_n,
    diversity,
    diversity_compat,
    ends_in_loop,
    loop_start,
    rep_n,
    rep_n_compat,
    ttr,
    ttr_compat,
    ttr_whole,
)


class Sequences:
    """The texts of a set as sequences of integers in one unit; words (`codec.words`) are numbered.

    Attributes:
        texts, references: (n,) lists of integers; a reference is None where there is none.
        spaceless: whether they are words, and some of them characters of scripts without spaces.
        filled: (n,) bool, texts that are not empty. What is empty no metric but length, eos_rate and ttr_compat averages.
        train_rows: rows of token ids, or None.
    """

    def __init__(self, texts: GenerationSet, unit: str, train_rows: Sequence[Sequence[int]] | None = None):
        self.set, self.train_rows, self.spaceless = texts, train_rows, False
        if unit == "tokens":
            self.texts = [list(t.ids) for t in texts.texts]
            self.references = [None if t.reference_ids is None else list(t.reference_ids) for t in texts.texts]
        else:
            numbers: dict[str, int] = {}
            self.texts = [_numbered(t.text, numbers) for t in texts.texts]
            self.references = [None if t.reference is None else _numbered(t.reference, numbers) for t in texts.texts]
            self.spaceless = any(map(has_spaceless_script, numbers))
        self.filled = np.array([len(t) > 0 for t in self.texts])

    @cached_property
    def overlaps(self) -> Overlaps:
        """Longest quotations of training rows."""
        return longest_overlaps(self.texts, self.train_rows)

    def of_filled(self, compute: Callable[[list], np.ndarray]) -> np.ndarray:
        """`compute` on the texts that are not empty; NaN for the others."""
        values = np.full(len(self.texts), np.nan)
        texts = [text for text in self.texts if text]
        if texts:
            values[self.filled] = compute(texts)
        return values


@dataclass(frozen=True, kw_only=True)
class TextMetric(Description):
    """One number per text, whose mean is the score.

    Attributes:
        compute: Sequences, or Pictures where `unit` is pixels, -> (n,) float64, NaN for a text that is left out (too short, empty).
        words: whether `NAME_words` exists and when: None, when it is "asked" for, "scored" with all others, or "shown" in
            the table too where no text has tokens.
    """

    compute: Callable[[Sequences], np.ndarray]
    words: str | None = "asked"


def _numbered(text: str, numbers: dict[str, int]) -> list[int]:
    return [numbers.setdefault(word, len(numbers)) for word in words(text)]


def _each(function: Callable) -> Callable[[Sequences], np.ndarray]:
    def compute(sequences: Sequences) -> np.ndarray:
        values = [function(text) for text in sequences.texts]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    return compute


def _loop_rate(sequences: Sequences) -> np.ndarray:
    return sequences.of_filled(lambda texts: [ends_in_loop(text) for text in texts])


def _ttr_compat(sequences: Sequences) -> np.ndarray:
    ended = [text.ended for text in sequences.set.texts]
    longest = max(len(text) + bool(end) for text, end in zip(sequences.texts, ended, strict=True))
    return np.array([ttr_compat(text, longest) for text in sequences.texts])


def _self_bleu(n: int) -> Callable[[Sequences], np.ndarray]:
    return lambda sequences: sequences.of_filled(lambda texts: self_bleu(texts, n) if len(texts) > 1 else np.nan)


def _dataset_bleu(brevity_penalty: bool) -> Callable[[Sequences], np.ndarray]:
    return lambda s: s.of_filled(lambda texts: dataset_bleu(texts, s.train_rows, 4, brevity_penalty))


def _reference_bleu(sequences: Sequences) -> np.ndarray:
    pairs = zip(sequences.texts, sequences.references, strict=True)
    return np.array([reference_bleu(text, ref) if text and ref else np.nan for text, ref in pairs])


def _repetition() -> list[TextMetric]:
    window = f"last {TTR_WINDOW}"
    ngrams, simctg = {"ngrams": "all"}, {"ngrams": "without the last, per text"}
    found = [
        TextMetric(
            name="ttr",
            label="TTR",
            definition=Signature({"window": window}),
            compute=_each(ttr),
            words="shown",
            column=1,
            histogram=Histogram(f"TTR of the {window}", "TTR of a text"),
            curve=Curve(
                "TTR by position",
                f"TTR of {SHADE_WINDOW} tokens",
                ("ttr_by_position",),
                SHADE_WINDOW,
            ),
        ),
        TextMetric(
            name="ttr_whole",
            label="TTR, whole text",
            definition=Signature({"window": "all"}),
            compute=_each(ttr_whole),
        ),
        TextMetric(
            name="ttr_compat",
            label="TTR, paper's script",
            definition=Signature({"window": window, "padding": "ends", "short_texts": "averaged"}),
            compute=_ttr_compat,
            words=None,
        ),
    ]
    for n in (1, 2, 3, 4):
        compute = _each(lambda t, n=n: distinct_n(t, n))
        found.append(
            TextMetric(name=f"distinct_{n}", label=f"distinct-{n}", definition=Signature(ngrams), compute=compute)
        )
    for n in (2, 3, 4):
        found += [
            TextMetric(
                name=f"rep_{n}",
                label=f"rep-{n}",
                definition=Signature(ngrams),
                compute=_each(lambda t, n=n: rep_n(t, n)),
                words="shown" if n == 4 else "asked",
                column=2 if n == 4 else None,
            ),
            TextMetric(
                name=f"rep_{n}_compat",
                label=f"rep-{n}, SimCTG's script",
                definition=Signature(simctg),
                compute=_each(lambda t, n=n: rep_n_compat(t, n)),
            ),
        ]
    return [
        *found,
        TextMetric(
            name="diversity",
            label="diversity",
            definition=Signature({**ngrams, "n": "2-4"}),
            compute=_each(diversity),
            words="scored",
            column=3,
        ),
        TextMetric(
            name="diversity_compat",
            label="diversity, SimCTG's script",
            definition=Signature({**simctg, "n": "2-4"}),
            compute=_each(diversity_compat),
        ),
        TextMetric(
            name="loop_rate",
            label="loops",
            definition=Signature({"phrase": ">=3 at the end, twice"}),
            compute=_loop_rate,
            words="shown",
            column=4,
        ),
        TextMetric(
            name="loop_start",
            label="loop starts at",
            definition=Signature({"phrase": ">=3", "texts": "that loop"}),
            compute=_each(loop_start),
            digits=1,
        ),
    ]


def _comparison() -> list[TextMetric]:
    smoothing, rows = {"smoothing": "method1"}, {"references": "training rows"}
    found = [
        TextMetric(
            name=f"self_bleu_{n}",
            label=f"Self-BLEU-{n}",
            definition=Signature({"references": "all others", **smoothing}),
            compute=_self_bleu(n),
            needs="pairs",
            words="shown" if n == 4 else "asked",
            column=5 if n == 4 else None,
        )
        for n in (1, 2, 3, 4, 5)
    ]
    return [
        *found,
        TextMetric(
            name="dataset_bleu_4",
            label="Dataset-BLEU-4",
            definition=Signature({**rows, **smoothing}),
            compute=_dataset_bleu(brevity_penalty=True),
            needs="train_rows",
            words=None,
        ),
        TextMetric(
            name="dataset_bleu_4_no_penalty",
            label="Dataset-BLEU-4, no brevity penalty",
            definition=Signature({**rows, **smoothing, "brevity": "none"}),
            compute=_dataset_bleu(brevity_penalty=False),
            needs="train_rows",
            words=None,
        ),
        TextMetric(
            name="overlap",
            label="overlap",
            definition=Signature({"run": "longest that is in one training row"}),
            compute=lambda s: s.of_filled(lambda _: s.overlaps.length[s.filled]),
            needs="train_rows",
            words=None,
            digits=1,
            column=6,
            shows_maximum=True,
            histogram=Histogram("Longest overlap with a training row", "tokens", whole=True),
        ),
        TextMetric(
            name="reference_bleu_4",
            label="BLEU-4",
            definition=Signature({"reference": "true continuation", **smoothing}),
            compute=_reference_bleu,
            needs="references",
        ),
    ]


def _length() -> list[TextMetric]:
    return [
        TextMetric(
            name="length",
            label="length",
            definition=Signature({"end": "not counted"}),
            compute=_each(len),
            words="scored",
            digits=1,
        ),
        TextMetric(
            name="eos_rate",
            label="ended",
            definition=Signature({"finish_reason": "eos"}),
            compute=lambda s: np.array([float(text.ended) for text in s.set.texts]),
            needs="finish_reasons",
            words=None,
        ),
    ]


TEXT_METRICS = [*_repetition(), *_comparison(), *_length()]

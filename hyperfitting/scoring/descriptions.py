"""What every metric says of itself, so that tables, figures and comparisons need to know none by name."""

from dataclasses import dataclass

from .. import __version__
from .signature import Signature

WORDS_SUFFIX = "_words"  # of the metric that counts words where its namesake counts tokens

# What a metric needs, as "it needs …" goes on.
NEEDS = {
    "pairs": "at least two texts",
    "train_rows": "the training rows: give --train_rows",
    "references": "references, and its records hold no true continuations (reference_ids)",
    "finish_reasons": "finish reasons",
    "model": "the model that made the texts: give --model_scores",
    "votes": "votes on pairs of texts: give --preference",
    "mauve_model": "a model for its features: give --mauve_model",
    "inception_weights": "InceptionV3's weights for its features: give --inception_weights",
}


@dataclass(frozen=True)
class Histogram:
    """A figure of the values of all texts, a line for each condition.

    Attributes:
        whole: values are whole numbers from 0, one a bar; otherwise they lie between 0 and 1.
    """

    title: str
    axis: str
    whole: bool = False


@dataclass(frozen=True)
class Curve:
    """A figure of means against the position in the text, a line for each condition.

    Attributes:
        keys: where the values stand in a condition's `curves`.
        step: tokens from one value to the next.
    """

    title: str
    axis: str
    keys: tuple[str, ...]
    step: int = 1


@dataclass(frozen=True)
class Description:
    """A metric, whoever computes it.

    Attributes:
        label: heading of its column; digits: decimals of its numbers.
        definition: what distinguishes it from its namesakes.
        unit: what is counted, or the unit of the value.
        needs: key of NEEDS, what it cannot be computed without; None where any text will do.
        column: place in the table where nobody asked for columns; None: only in scores.json.
        paired: whether a mean over contexts, which conditions can be subtracted by, context by context.
        shows_maximum: whether the largest value stands beside the mean.
        exponential: the score is the exponential of the mean of the values.
        crossed: rows of its values are annotators, each of whom saw some of the contexts, and not seeds: see `crossed`.
        of_model: a number of the model and the contexts, the same under every policy.
        histogram, curve: the figures that it feeds.
    """

    name: str
    label: str
    definition: Signature
    unit: str = "tokens"
    needs: str | None = None
    digits: int = 3
    column: float | None = None
    paired: bool = True
    shows_maximum: bool = False
    exponential: bool = False
    crossed: bool = False
    of_model: bool = False
    histogram: Histogram | None = None
    curve: Curve | None = None

    @property
    def base(self) -> str:
        """The metric of tokens that one of words stands in for; its own name otherwise."""
        return self.name.removesuffix(WORDS_SUFFIX)

    def signature(self, interval: str) -> Signature:
        """The complete definition of a score and of the interval around it."""
        what = {"metric": self.name, "unit": self.unit, **self.definition.fields}
        return Signature({**what, "interval": interval, "version": f"hyperfitting {__version__}"})

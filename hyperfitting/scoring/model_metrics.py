"""Metrics that need a model: what a set's own model says of texts, and MAUVE. Described here, without torch."""

from dataclasses import dataclass

from .descriptions import Curve, Description
from .signature import Signature

SIDES = ("original", "generated")


@dataclass(frozen=True, kw_only=True)
class ModelMetric(Description):
    """A mean over texts of what the model measures at each of their tokens.

    Attributes:
        measure: column of `teacher_forced.MEASURES`.
        side: of SIDES, the true continuations or the model's own.
    """

    measure: str
    side: str


def _of_side(side: str) -> list[ModelMetric]:
    original = side == "original"
    definition = Signature(
        {"teacher_forced": f"{side} continuations", "softmax": "fp32", "mean": "over tokens, then texts"}
    )

    def metric(name: str, label: str, unit: str, measure: str, column: int | None = None, **more) -> ModelMetric:
        return ModelMetric(
            name=f"{name}_{side}",
            label=f"{label}, {side}",
            definition=definition,
            unit=unit,
            needs="model",
            column=column if original else None,
            of_model=original,
            measure=measure,
            side=side,
            **more,
        )

    whose = "true continuations" if original else "own texts"
    curve = Curve(f"Entropy by position, {whose}", "entropy, nats", (f"{side}_by_position", "entropy"))
    found = [
        metric("loss", "loss", "nats", "loss"),
        # Its values are losses, so that its intervals are those of the mean loss; differences of them are the loss's.
        metric("perplexity", "perplexity", "exp of the mean loss", "loss", 8, digits=1, paired=False, exponential=True),
        metric("entropy", "entropy", "nats", "entropy", 9, curve=curve),
        metric("mass_top1", "top-1 mass", "share", "mass_top1", 10),
        metric("mass_top3", "top-3 mass", "share", "mass_top3"),
        metric("mass_top5", "top-5 mass", "share", "mass_top5"),
    ]
    if original:  # a greedy text is its own model's first choice
        found.append(metric("top1_accuracy", "top-1 accuracy", "share", "top1_accuracy"))
    return found


MODEL_METRICS = [metric for side in SIDES for metric in _of_side(side)]
MAUVE = Description(
    name="mauve",
    label="MAUVE",
    definition=Signature(
        {
            "features": "last token of context and text, both texts of a pair cut to the shorter",
            "scaling": "5",
            "clusters": "n/10",
        }
    ),
    unit="words",
    needs="mauve_model",
    column=7,
    paired=False,  # one number for all texts, over seeds of its clustering
)

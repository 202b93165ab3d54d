"""Compares a model with its conversion, says what was found, and decides."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from ..codec import load_codec
from ..models import load_for_inference
from ..terminal import Progress, printable
from .causes import TOO_COARSE, find_cause
from .comparison import CONTEXT_TOKENS, GREEDY_TOKENS, Agreement, compare, predictions, sample_contexts
from .converted import TransformersModel, open_converted

# Of a hyperfitted SmolLM2 8 and 6 bits a weight are above, 4 and 2 bits, which cost it its variety, below: docs/use.md.
LEAST_TOKENISED, LEAST_LIKELIEST = 0.99, 0.8
DOUBTFUL = 0.97  # below it causes are looked for, which takes as many passes again as there are


@dataclass(frozen=True)
class Verdict:
    """Whether a conversion is the same model, and if not, why."""

    same: bool
    reason: str | None
    agreement: Agreement


def check_conversion(name: str, path: Path, console: Console) -> Verdict:
    """Compare the model `name` with what another program made of it at `path`, and print the numbers.

    Raises:
        UserError: one of them cannot be opened.
    """
    codec = load_codec(name)
    model = load_for_inference(name, "float32")
    longest = CONTEXT_TOKENS + GREEDY_TOKENS
    original = TransformersModel(model, codec, f"transformers {model.config.model_type}", longest)
    converted = open_converted(path, codec, longest)
    contexts = sample_contexts(original, model.config.get_text_config().vocab_size)

    def predict(other) -> np.ndarray:
        return np.concatenate(predictions(TransformersModel(other, codec, "", longest), contexts, lambda count: None))

    with Progress(console) as progress, progress.task("comparing", 3 * len(contexts), "context") as task:
        expected = predictions(original, contexts, task.advance)
        agreement = compare(original, converted, contexts, expected, task.advance)
    for line in lines(converted.kind, agreement, len(contexts)):
        console.print(printable(line))
    reasons = []
    if not agreement.start:
        reasons.append(
            f"it puts {converted.start or 'nothing'} before a text, the original {original.start or 'nothing'}"
        )
    if agreement.tokenised.mean() < LEAST_TOKENISED:
        reasons.append(
            f"its tokenizer is another: {agreement.first_text!r} has other ids (was a file of the tokenizer missing?)"
        )
    share = float(agreement.likeliest.mean())
    cause = None
    if share < DOUBTFUL:
        with console.status("looking for the cause"):
            cause = find_cause(model, np.concatenate(expected), agreement.predicted, predict)
    if share < LEAST_LIKELIEST or (cause and not cause.startswith(TOO_COARSE)):
        reasons.append(
            f"its likeliest token is the original's at {share:.3f} of all positions"
            + (f"; the likeliest cause: {cause}" if cause else f", below {LEAST_LIKELIEST}")
        )
    return Verdict(not reasons, "; ".join(reasons) or None, agreement)


def lines(kind: str, agreement: Agreement, contexts: int) -> list[str]:
    """What was found, a line each, with n."""
    same = int(agreement.tokenised.sum())
    until = sorted(agreement.greedy)
    return [
        f"{kind} beside the original:",
        f"  texts with the same token ids     {same} of {len(agreement.tokenised)} (at least {LEAST_TOKENISED:.0%})",
        f"  positions with the same arg-max   {agreement.likeliest.mean():.3f} of {len(agreement.likeliest)}, teacher-forced on "
        f"{contexts} texts (at least {LEAST_LIKELIEST})",
        f"  greedy tokens until they differ   median {int(np.median(until))} of {GREEDY_TOKENS}, least {until[0]}, "
        f"{sum(n == GREEDY_TOKENS for n in until)} of {contexts} alike to the end",
    ]

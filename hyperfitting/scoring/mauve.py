"""MAUVE: how near generated texts as a whole are to the true continuations (Pillutla et al. 2021). An optional extra."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from ..codec import load_codec
from ..errors import UserError
from ..models import check_stored, load_for_inference, window_of
from .conditions import Condition
from .model_metrics import MAUVE
from .scores import Score
from .signature import Signature
from .teacher_forced import forward_texts

SEEDS = 5  # of the clustering, which moves the score by several hundredths
ENOUGH = 2000  # texts, below which the package's authors do not trust the score


def mauve_scores(
    conditions: Sequence[Condition],
    model_name: str,
    batch_size: int = 8,
    trust_remote_code: bool = False,
    say: Callable[[str], None] = lambda what: None,
) -> dict[str, Score]:
    """MAUVE of each condition's texts against the true continuations of the same contexts, between 0 and 1, higher is nearer.

    A text's features are the last hidden state of `model_name` at the last token of context and text. Both texts of a pair
    are cut to the length of the shorter one, so that length does not tell them apart. Pairs with an empty text are left out.

    Args:
        model_name: a causal LM, Hub id or local folder, loaded once; the numbers of two models are not comparable.
        batch_size: texts in a forward pass.
        trust_remote_code: run modelling code that comes with the model.

    Returns:
        Condition -> score with values (generation seeds x clustering seeds, 1); `value` is their mean, `low` and `high` the
        lowest and highest. Label and signature say so when there are fewer than 2000 texts.

    Raises:
        UserError: the extra is not installed, no true continuations, no text, the model cannot be loaded or its window is too
            short.
    """
    compute_mauve = import_mauve()
    pairs = {condition.name: _pairs(condition) for condition in conditions}
    model = load_for_inference(model_name, "float32", trust_remote_code=trust_remote_code)
    codec = load_codec(model_name, trust_remote_code=trust_remote_code)
    window = window_of(model.config) or sys.maxsize
    scores = {}
    for condition in conditions:
        say(f"MAUVE of {condition.name}")
        values = []
        for of_set in pairs[condition.name]:
            true, generated = (
                _features(model, ids, batch_size) for ids in _cut_pairs(of_set, codec, window, model_name)
            )
            values += [_area(compute_mauve, true, generated, seed) for seed in range(SEEDS)]
        scores[condition.name] = _score(condition, pairs[condition.name], np.array(values), model_name)
    return scores


def check_mauve(conditions: Sequence[Condition], model_name: str, trust_remote_code: bool = False) -> None:
    """Whether there is all that MAUVE needs, before anything is computed.

    Raises:
        UserError: as `mauve_scores`.
    """
    import_mauve()
    for condition in conditions:
        _pairs(condition)
    check_stored(model_name, trust_remote_code=trust_remote_code, flag="--mauve_model")
    load_codec(model_name, trust_remote_code=trust_remote_code)


def _pairs(condition: Condition) -> list[list[tuple[str, str, str]]]:
    """(context, text, true continuation) of each set, as far as none is empty."""
    if not all(texts.has_words for texts in condition.sets):
        raise UserError(f"MAUVE of {condition.name!r} reads text, and its token ids have none: give --tokenizer")
    pairs = [
        [(t.context, t.text, t.reference) for t in texts.texts if t.text and t.reference] for texts in condition.sets
    ]
    if not all(pairs):
        raise UserError(f"MAUVE compares with true continuations, and {condition.name!r} holds none (reference)")
    return pairs


def _score(condition: Condition, pairs: list[list], values: np.ndarray, model_name: str) -> Score:
    n, unreliable = sum(map(len, pairs)), min(map(len, pairs)) < ENOUGH
    definition = {**MAUVE.definition.fields, "features": f"{model_name}, {MAUVE.definition.fields['features']}"}
    if unreliable:
        definition["caution"] = f"n < {ENOUGH}: unreliable"
    label = f"{MAUVE.label} (n < {ENOUGH})" if unreliable else MAUVE.label
    metric = replace(MAUVE, label=label, definition=Signature(definition))
    return Score(
        metric=metric,
        value=float(values.mean()),
        low=float(values.min()),
        high=float(values.max()),
        n=n,
        left_out=sum(len(texts.texts) for texts in condition.sets) - n,
        signature=str(metric.signature(f"mean, lowest and highest of {SEEDS} clustering seeds")),
        values=values[:, None],
    )


def import_mauve() -> Callable:
    """`compute_mauve` of the package mauve-text.

    Raises:
        UserError: it is not installed.
    """
    try:
        from mauve import compute_mauve
    except ImportError as error:
        raise UserError(f'MAUVE is an extra: pip install "hyperfitting[mauve]" ({error})') from error
    return compute_mauve


def _cut_pairs(pairs: Sequence[tuple[str, str, str]], codec, window: int, model_name: str) -> tuple[list, list]:
    """(context, text, reference) -> token ids of context and reference, and of context and text, of one length per pair."""
    contexts, generated, true = (
        codec.encode_opening(texts)
        for texts in (
            [context for context, _, _ in pairs],
            [context + text for context, text, _ in pairs],
            [context + reference for context, _, reference in pairs],
        )
    )
    if max(map(len, contexts)) >= window:
        raise UserError(
            f"MAUVE: the contexts fill the window of {model_name}, {window} tokens: name another --mauve_model"
        )
    ends = [min(len(a), len(b), window) for a, b in zip(generated, true, strict=True)]
    return tuple([ids[:end] for ids, end in zip(side, ends, strict=True)] for side in (true, generated))


def _features(model: nn.Module, texts: Sequence[Sequence[int]], batch_size: int) -> np.ndarray:
    """(texts, hidden size) float32: the last hidden state at each text's last token."""
    features: list = [None] * len(texts)

    def keep(index: int, hidden: torch.Tensor, ids: torch.Tensor) -> None:
        features[index] = hidden[-1].float().cpu().numpy()

    def run(ids: torch.Tensor) -> torch.Tensor:
        return model.base_model(input_ids=ids, use_cache=False).last_hidden_state

    forward_texts(run, texts, batch_size, next(model.parameters()).device, keep)
    return np.stack(features)


def _area(compute_mauve: Callable, true: np.ndarray, generated: np.ndarray, seed: int) -> float:
    """The area under the divergence curve, in the curve's own order: mauve-text 0.4 sorts its points, breaks ties the wrong
    way, and gives two equal histograms 0.75."""
    with _without_warnings_of_faiss():
        x, y = compute_mauve(p_features=true, q_features=generated, seed=seed).divergence_curve.T
    return float(-np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


@contextmanager
def _without_warnings_of_faiss():
    """faiss asks, from C++ on stderr, for 39 points per cluster, at every clustering; MAUVE means to have 20."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

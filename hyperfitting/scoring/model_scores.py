"""Scores that need the model of a set: how surprised it is by the true continuations and by its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..records import GenerationSet
from ..terminal import Progress, make_console
from .conditions import Condition
from .model_metrics import MODEL_METRICS, SIDES
from .scores import Score, summarize
from .teacher_forced import MEASURES, measure_continuations


@dataclass(frozen=True)
class ModelScores:
    """Scores of one condition, named `entropy_original`, `loss_generated` and so on, and curves by position.

    Attributes:
        curves: `SIDE` -> {measure: means over the texts at each token that every text has}.
    """

    scores: dict[str, Score]
    curves: dict[str, dict[str, list[float]]]


def score_with_models(
    conditions: Sequence[Condition],
    sides: Sequence[str] = SIDES,
    batch_size: int = 8,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    advance: Callable[[str], None] = lambda what: None,
    progress: Progress | None = None,
) -> dict[str, ModelScores]:
    """Teacher-force every condition's model through its own texts and through the true continuations.

    `sides` says which of the two, see SIDES. Models are those that the generation runner noted in manifest.json, at the revision that stands there; each is loaded
    once. Under `accelerate launch` every process measures its share, and all return the same.

    Raises:
        UserError: no model is noted or it cannot be loaded, it is not the one that made the texts, no token ids.
    """
    progress = progress or Progress(make_console(quiet=True))
    measured: dict[tuple, list[np.ndarray]] = {}
    sets = [texts for condition in conditions for texts in condition.sets]
    for name, revision in dict.fromkeys(_model_of(texts) for texts in sets):
        advance(f"loading {name}")
        of_model = [texts for texts in sets if _model_of(texts) == (name, revision)]
        model = _load(name, revision, of_model, dtype, trust_remote_code)
        for texts in of_model:
            for side in sides:
                key = _key(texts, side)
                if key not in measured:
                    advance(f"{texts.name}: {side} continuations")
                    measured[key] = _measure(model, texts, side, batch_size, progress)
        del model
    return {condition.name: _summarize(condition, sides, measured) for condition in conditions}


def check_models(conditions: Sequence[Condition], trust_remote_code: bool = False) -> None:
    """Whether the models of all conditions are noted and stored, before the first of them is loaded.

    Raises:
        UserError: as `score_with_models`.
    """
    from ..models import check_stored

    sets = [texts for condition in conditions for texts in condition.sets]
    made: dict[tuple, GenerationSet] = {}
    for texts in sets:
        made.setdefault(_model_of(texts), texts)
    for (name, revision), texts in made.items():
        try:
            check_stored(name, revision, trust_remote_code, flag="the model")
        except UserError as error:
            raise UserError(
                f"{error}; {texts.name!r} was made with it, says its manifest.json: put it back, or write there where it is now"
            ) from error


def _model_of(texts: GenerationSet) -> tuple[str, str | None]:
    """Name and revision; manifests of local folders, and those of old, hold no revision."""
    if "model" not in texts.manifest:
        raise UserError(
            f"{texts.name!r} does not say which model made it: --model_scores takes folders of launch/generate.py"
        )
    if not texts.has_tokens or not all(text.context_ids for text in texts.texts):
        raise UserError(
            f"{texts.name!r} holds texts without continuation_ids or context_ids, which --model_scores needs"
        )
    return texts.manifest["model"], texts.manifest.get("revision")


def _load(name: str, revision: str | None, sets: Sequence[GenerationSet], dtype: str, trust_remote_code: bool):
    from ..models import check_vocabulary, check_window, load_for_inference, model_fingerprint, stored_fingerprint

    model = load_for_inference(name, dtype, revision=revision, trust_remote_code=trust_remote_code)
    for texts in sets:
        made_by, same_dtype = texts.manifest.get("model_fingerprint"), texts.manifest.get("dtype") == dtype
        # A folder may hold twice what the model ties: then its fingerprint is not that of the loaded model.
        if same_dtype and made_by != model_fingerprint(model) and made_by != stored_fingerprint(name, revision):
            raise UserError(f"{name} is not the model that made {texts.name!r}: it was changed since")
        whole = [[*t.context_ids, *t.ids, *(t.reference_ids or ())] for t in texts.texts]
        check_vocabulary(model.config, max(map(max, whole)), f"the texts of {texts.name!r}")
        longest = max(len(t.context_ids) + max(len(t.ids), len(t.reference_ids or ())) for t in texts.texts)
        check_window(
            model.config,
            longest,
            f"{texts.name!r} holds texts of {longest} tokens, beyond the window of {name}: {{window}}",
        )
    return model


def _key(texts: GenerationSet, side: str) -> tuple:
    """True continuations of the same contexts are measured once for each model, its own texts of every set."""
    if side == "generated":
        return side, id(texts)
    return side, _model_of(texts), tuple((text.context_ids, text.reference_ids) for text in texts.texts)


def _measure(model, texts: GenerationSet, side: str, batch_size: int, progress: Progress) -> list[np.ndarray]:
    """(tokens, 6) of each text, in order, on every process; an empty array where there is no continuation."""
    from accelerate import PartialState
    from accelerate.utils import gather_object

    continuations = [t.ids if side == "generated" else t.reference_ids or () for t in texts.texts]
    there = [i for i, continuation in enumerate(continuations) if continuation]
    state = PartialState()
    mine = there[state.process_index :: state.num_processes]
    contexts = [texts.texts[i].context_ids for i in mine]
    each = sum(len(texts.texts[i].context_ids) + len(continuations[i]) for i in mine) // max(1, len(mine))
    with progress.task(f"{texts.name}, {side} continuations", len(mine), "text") as task:
        found = measure_continuations(
            model,
            contexts,
            [continuations[i] for i in mine],
            batch_size,
            advance=lambda count: task.advance(count, tokens=count * each),
        )
    pairs = list(zip(mine, found, strict=True))
    measured = dict(gather_object(pairs) if state.num_processes > 1 else pairs)
    return [measured.get(i, np.empty((0, len(MEASURES)))) for i in range(len(continuations))]


def _summarize(condition: Condition, sides: Sequence[str], measured: dict) -> ModelScores:
    scores, curves = {}, {}
    for side in sides:
        runs = [measured[_key(texts, side)] for texts in condition.sets]
        if not any(len(text) for run in runs for text in run):
            continue
        filled = [text for run in runs for text in run if len(text)]
        reach = min(map(len, filled))
        means = np.mean([text[:reach] for text in filled], axis=0)
        curves[side] = {name: means[:, i].tolist() for i, name in enumerate(MEASURES)}
        for metric in (metric for metric in MODEL_METRICS if metric.side == side):
            column = MEASURES.index(metric.measure)
            values = [np.array([text[:, column].mean() if len(text) else np.nan for text in run]) for run in runs]
            scores[metric.name] = summarize(metric, values, contexts=condition.contexts)
    return ModelScores(scores, curves)

"""All that a scoring opens, opened before the first text is scored: what is missing costs no finished work."""

from collections.abc import Sequence

from ..errors import UserError
from .conditions import Condition, require_same_contexts
from .descriptions import NEEDS
from .metrics import find_metric


def check_ready(
    conditions: Sequence[Condition],
    metrics: Sequence[str] = (),
    baseline: str | None = None,
    model_scores: bool = False,
    preference: str | None = None,
    mauve_model: str | None = None,
    inception_weights: str | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Whether what flags ask for can be computed of these conditions, as far as that is known without computing it.

    Raises:
        UserError: a metric lacks its flag, a condition the baseline's contexts, a model or file cannot be opened.
    """
    given = {
        "model": model_scores,
        "votes": preference,
        "mauve_model": mauve_model,
        "inception_weights": inception_weights,
    }
    for name in metrics:
        needs = find_metric(name).needs
        if needs in given and not given[needs]:
            raise UserError(f"metric {name!r} cannot be computed: it needs {NEEDS[needs]}")
    if baseline is not None:
        base = next(condition for condition in conditions if condition.name == baseline)
        for condition in conditions:
            require_same_contexts(base.first, condition.first, "a paired difference needs the same contexts")
    if model_scores:
        from .model_scores import check_models

        check_models(conditions, trust_remote_code)
    if mauve_model:
        from .mauve import check_mauve

        check_mauve(conditions, mauve_model, trust_remote_code)
    if inception_weights:
        from .inception import check_pictures, load_extractor

        check_pictures(conditions)
        load_extractor(inception_weights, 1)

"""The metrics as a local `evaluate` module, a script that `evaluate.load` copies into its cache and imports from there.

>>> ttr = evaluate.load(hyperfitting.scoring.EVALUATE_MODULE, "ttr")
>>> ttr.compute(predictions=[[5, 7, 7], [5, 9, 9]])
{"ttr": …, "ttr_ci": [low, high], "ttr_n": …, "ttr_left_out": …, "ttr_signature": "metric:ttr|unit:tokens|…"}

The configuration is the name of a metric: every one that `scoring.score` knows, but for what needs more than predictions hold
(how texts ended). Keys begin with that name, so that `evaluate.combine` merges several loaded modules.
"""

import datasets
import evaluate

# Absolute: the copy in the cache lies outside the package.
from hyperfitting.errors import UserError
from hyperfitting.scoring.descriptions import NEEDS
from hyperfitting.scoring.metrics import METRICS, find_metric
from hyperfitting.scoring.scores import score

HELD = (None, "pairs", "references", "train_rows")  # what predictions, references and arguments give
INPUTS = """
Args:
    predictions: sequences of token ids; strings for a metric that ends in `_words`, which splits them into words (`codec.words`).
        ttr_compat takes them as `generate` returns them, with the end and its padding.
    references: the true continuations, as predictions are given; of reference_bleu_4 alone.
    train_rows: the training rows as sequences of token ids; overlap and dataset_bleu_4 need them, the others ignore them.

Returns:
    NAME: the mean over predictions; NAME_ci: its 95 % bootstrap interval; NAME_n: predictions that were averaged;
    NAME_left_out: those that were not (too short, empty); NAME_signature: the definition.
"""


class Hyperfitting(evaluate.Metric):
    """One metric of `scoring.METRICS`, chosen by `config_name`."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name == "default":
            known = [name for name, metric in METRICS.items() if metric.needs in HELD]
            raise UserError(f"say which metric, evaluate.load(path, 'ttr'): {', '.join(known)}")
        metric = find_metric(self.config_name)
        if metric.needs not in HELD:
            raise UserError(
                f"{metric.name} needs {NEEDS[metric.needs]}, which predictions do not hold: use scoring.score"
            )
        text = datasets.Value("string") if metric.unit == "words" else datasets.Sequence(datasets.Value("int64"))
        inputs = ("predictions", "references") if metric.needs == "references" else ("predictions",)
        return evaluate.MetricInfo(
            description=f"{metric.label}: {metric.definition}, of {metric.unit}",
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(dict.fromkeys(inputs, text)),
        )

    def _compute(self, predictions, references=None, train_rows=None) -> dict:
        name = self.config_name
        words = find_metric(name).unit == "words"
        text, reference = ("text", "reference") if words else ("token_ids", "reference_ids")
        records = [{text: prediction} for prediction in predictions]
        if references is not None:
            records = [{**record, reference: true} for record, true in zip(records, references, strict=True)]
        found = score(records, metrics=[name], train_rows=train_rows)[name]
        return {
            name: found.value,
            f"{name}_ci": [found.low, found.high],
            f"{name}_n": found.n,
            f"{name}_left_out": found.left_out,
            f"{name}_signature": found.signature,
        }

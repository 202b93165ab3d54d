"""Metric definitions. They import nothing of the training loop, which imports them for its probe."""

from pathlib import Path

from ..records import GenerationSet, load_generation_sets
from .bleu import dataset_bleu, self_bleu
from .conditions import Condition
from .differences import compare
from .metrics import metric_descriptions
from .overlap import Overlaps, longest_overlaps
from .scores import Score, score
from .signature import Signature
from .statistics import bootstrap_interval
from .text import distinct_n, diversity, ends_in_loop, rep_n, ttr

EVALUATE_MODULE = str(Path(__file__).with_name("evaluate_module.py"))  # evaluate.load(EVALUATE_MODULE, "ttr")

__all__ = [
    "EVALUATE_MODULE",
    "Condition",
    "GenerationSet",
    "Overlaps",
    "Score",
    "Signature",
    "bootstrap_interval",
    "compare",
    "dataset_bleu",
    "distinct_n",
    "diversity",
    "ends_in_loop",
    "load_generation_sets",
    "longest_overlaps",
    "metric_descriptions",
    "rep_n",
    "score",
    "self_bleu",
    "ttr",
]

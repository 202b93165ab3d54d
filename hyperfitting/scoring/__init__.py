"""Metric definitions. They import nothing of the training loop, which imports them for its probe."""

from pathlib import Path

from ..records import GenerationSet, load_generation_sets
from .bleu import dataset_bleu, self_bleu
from .overlap import Overlaps, longest_overlaps
from .scores import Condition, Score, compare, score
from .statistics import bootstrap_interval
from .text import distinct_n, diversity, ends_in_loop, rep_n, ttr

EVALUATE_MODULE = str(Path(__file__).with_name("evaluate_module.py"))  # evaluate.load(EVALUATE_MODULE, "ttr")

__all__ = [
    "EVALUATE_MODULE",
    "Condition",
    "GenerationSet",
    "Overlaps",
    "Score",
    "bootstrap_interval",
    "compare",
    "dataset_bleu",
    "distinct_n",
    "diversity",
    "ends_in_loop",
    "load_generation_sets",
    "longest_overlaps",
    "rep_n",
    "score",
    "self_bleu",
    "ttr",
]

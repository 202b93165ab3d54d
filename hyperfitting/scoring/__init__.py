"""Metric definitions. They import nothing of the training loop, which imports them for its probe."""

from .bleu import dataset_bleu, self_bleu
from .overlap import Overlaps, longest_overlaps
from .statistics import bootstrap_interval
from .text import distinct_n, diversity, ends_in_loop, rep_n, ttr

__all__ = [
    "Overlaps",
    "bootstrap_interval",
    "dataset_bleu",
    "distinct_n",
    "diversity",
    "ends_in_loop",
    "longest_overlaps",
    "rep_n",
    "self_bleu",
    "ttr",
]

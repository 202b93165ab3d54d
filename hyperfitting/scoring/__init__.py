"""Metric definitions. They import nothing of the training loop, which imports them for its probe."""

from .statistics import bootstrap_interval
from .text import distinct_n, diversity, ends_in_loop, rep_n, ttr

__all__ = ["bootstrap_interval", "distinct_n", "diversity", "ends_in_loop", "rep_n", "ttr"]

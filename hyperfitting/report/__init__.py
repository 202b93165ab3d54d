"""report.html: scores, curves and the texts themselves in one file that needs no network."""

from .page import write_report

__all__ = ["write_report"]

"""What stands in a table and its cells, before it is Markdown, LaTeX, a line on the terminal or HTML."""

from dataclasses import asdict, dataclass

from .differences import Difference
from .scores import Score

DASH = "–"


@dataclass(frozen=True)
class Cell:
    """A score or a paired difference, as its fields; every renderer puts `number`, `interval`, `remark` and `count` in its own form.

    Attributes:
        kind: "score", or "difference", which has a sign and a p-value.
        value, low, high: with their 95 % interval; None when no text could be measured.
        n: texts, or pairs of texts, that were averaged; left_out: texts that were not.
        digits: decimals of all three.
        maximum: the largest value, where the metric shows it.
        p: of a difference, corrected.
    """

    kind: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    left_out: int = 0
    digits: int = 3
    maximum: float | None = None
    p: float | None = None

    @classmethod
    def of_score(cls, score: Score) -> "Cell":
        measured = score.n > 0
        return cls(
            kind="score",
            value=score.value if measured else None,
            low=score.low if measured else None,
            high=score.high if measured else None,
            n=score.n,
            left_out=score.left_out,
            digits=score.metric.digits,
            maximum=score.maximum if measured and score.metric.shows_maximum else None,
        )

    @classmethod
    def of_difference(cls, difference: Difference, digits: int) -> "Cell":
        return cls(
            kind="difference",
            value=difference.value,
            low=difference.low,
            high=difference.high,
            n=difference.n,
            digits=digits,
            p=difference.p_holm,
        )

    @classmethod
    def from_json(cls, fields: dict) -> "Cell":
        """The cell whose `to_json` this is."""
        return cls(**fields)

    def to_json(self) -> dict:
        """The fields, as plain numbers."""
        return asdict(self)

    @property
    def number(self) -> str:
        """`0.612`, `+0.120`, or a dash where nothing could be measured."""
        return DASH if self.value is None else self._format(self.value)

    @property
    def interval(self) -> str:
        """`[0.590, 0.633]`; nothing where nothing could be measured."""
        return "" if self.value is None else f"[{self._format(self.low)}, {self._format(self.high)}]"

    @property
    def remark(self) -> str:
        """`max 44` or `p = 0.012`, or nothing."""
        if self.maximum is not None:
            return f"max {self.maximum:.0f}"
        if self.p is not None:  # 10,000 permutations do not tell small ones apart
            return "p < 0.001" if self.p < 1e-3 else f"p = {self.p:.3f}"
        return ""

    @property
    def count(self) -> str:
        """`n = 95` where some texts could not be measured, or nothing."""
        if self.value is None:
            return f"n = 0, {self.left_out} left out"
        return f"n = {self.n}" if self.left_out else ""

    @property
    def details(self) -> str:
        """What stands behind the number in running text: `[0.590, 0.633], max 44 (n = 95)`."""
        text = ", ".join(part for part in (self.interval, self.remark) if part)
        return " ".join(part for part in (text, f"({self.count})" if self.count else "") if part)

    def _format(self, value: float) -> str:
        return f"{value:{'+' if self.kind == 'difference' else ''}.{self.digits}f}"


@dataclass(frozen=True)
class Table:
    """Headings of all columns, that of the rows' headings first; of each row its heading and what stands behind it."""

    header: list[str]
    rows: list[tuple[str, list[Cell | str]]]


@dataclass(frozen=True)
class Section:
    """A table with a title and a sentence or more under it."""

    title: str
    table: Table
    note: str

    def to_json(self) -> dict:
        """Rows as heading and cells; a cell is its fields, or the text that stands there."""
        rows = [
            {"heading": heading, "cells": [cell if isinstance(cell, str) else cell.to_json() for cell in cells]}
            for heading, cells in self.table.rows
        ]
        return {"title": self.title, "columns": self.table.header[1:], "rows": rows, "note": self.note}

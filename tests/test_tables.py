"""Cells of a table, and how each form of the table shows them."""

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from hyperfitting.records import generation_set
from hyperfitting.scoring import tables
from hyperfitting.scoring.cells import Cell
from hyperfitting.scoring.conditions import Condition
from hyperfitting.scoring.results import score_conditions
from hyperfitting.scoring.scores import score

CELLS = {
    "a score": (
        Cell(kind="score", value=0.6123, low=0.59, high=0.6333, n=96),
        "0.612 [0.590, 0.633]",
    ),
    "some left out": (
        Cell(kind="score", value=3.91, low=3.6, high=4.1, n=95, left_out=1, digits=1, maximum=6.0),
        "3.9 [3.6, 4.1], max 6 (n = 95)",
    ),
    "nothing measured": (
        Cell(kind="score", value=None, low=None, high=None, n=0, left_out=8),
        "– (n = 0, 8 left out)",
    ),
    "a difference": (
        Cell(kind="difference", value=-0.12, low=-0.2, high=0.01, n=96, digits=2, p=0.0121),
        "-0.12 [-0.20, +0.01], p = 0.012",
    ),
    "a sure difference": (
        Cell(kind="difference", value=0.5, low=0.4, high=0.6, n=96, p=0.0004),
        "+0.500 [+0.400, +0.600], p < 0.001",
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_in_running_text_and_in_json(name):
    cell, text = CELLS[name]
    assert f"{cell.number} {cell.details}" == text
    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell


def test_a_cell_holds_what_was_scored():
    records = [{"token_ids": ids} for ids in ([1, 2, 3] * 40, [1, 2], list(range(100)))]
    found = score(records, ["ttr", "overlap", "loop_start"], train_rows=[[1, 2, 3]])
    cell = Cell.of_score(found["overlap"])
    assert (cell.value, cell.low, cell.high) == (found["overlap"].value, found["overlap"].low, found["overlap"].high)
    assert (cell.maximum, cell.digits, cell.n) == (3.0, 1, 3)
    assert Cell.of_score(found["ttr"]).maximum is None and Cell.of_score(found["ttr"]).left_out == 1
    none = Cell.of_score(found["loop_start"].of(np.array([False, True, False])))
    assert (none.value, none.n, none.left_out) == (None, 0, 1)


@pytest.fixture(scope="module")
def results():
    rows = {"a|b [red]": [[1, 2, 3] * 40, list(range(120))], "c_d": [[4, 5] * 60, [7]]}
    sets = [generation_set([{"id": i, "token_ids": t} for i, t in enumerate(texts)], n) for n, texts in rows.items()]
    conditions = [Condition.of(one.name, [one]) for one in sets]
    return score_conditions(conditions, metrics=["ttr", "length"])


def test_markdown(results):
    lines = tables.markdown(results).splitlines()
    assert lines[0] == "|  | texts | TTR | length |"
    assert lines[2].startswith(r"| a\|b [red] | 2 | 0.516 [0.031, 1.000] | 120.0 [120.0, 120.0] |")
    assert lines[3].startswith("| c_d | 2 | 0.021 [0.021, 0.021] (n = 1) | ")
    assert r"| minus a\|b [red] | TTR | length |" in lines
    assert any(
        re.fullmatch(r"\| c_d \| -0\.010 \[.*\], p = 1\.000 \| -59\.5 \[.*\], p = \S+ \|", line) for line in lines
    )


def test_latex(results):
    text = tables.latex(results)
    assert r"c\_d & 2 & 0.021 [0.021, 0.021] (n = 1) & 60.5 [1.0, 120.0] \\" in text
    assert text.count(r"\begin{tabular}") == 2


def test_the_terminal_shows_names_whole_and_as_they_are(results):
    console = Console(file=io.StringIO(), width=60)
    console.print(tables.terminal(results))
    shown = console.file.getvalue()
    assert "a|b [red]" in shown and "[0.031, 1.000]" in shown and "0.516" in shown

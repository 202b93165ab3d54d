"""Tables of scores ready for a paper: Markdown, LaTeX, and the terminal."""

import re
from collections.abc import Sequence

import rich.table
from rich.text import Text

from ..terminal import printable
from .cells import DASH, Cell, Table
from .descriptions import Description
from .differences import PAIRED
from .results import Results, Scored

INTERVALS = "In brackets 95 % intervals, which the definitions name; n where some texts could not be measured."
# What would be markup in a cell: pipes, emphasis at the edge of a word, code, links, tags, entities.
_MARKDOWN = re.compile(r"[\\|*`~]|(?<!\w)_|_(?!\w)|(?<=\])[(\[]|<(?=[a-zA-Z/!?])|&(?=#?\w+;)")
_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"`": r"\textasciigrave{}", "|": r"\textbar{}"}
    | {"<": "$<$", ">": "$>$", DASH: "--"}
)


def _described(scored: Scored, metric: str) -> Description:
    return next(scores[metric].metric for scores in scored.values() if metric in scores)


def _cells(scores: dict, columns: Sequence[str]) -> list[Cell | str]:
    return [Cell.of_score(scores[metric]) if metric in scores else DASH for metric in columns]


def signatures(results: Results) -> list[str]:
    """The distinct signatures behind the columns, in their order."""
    everything = results.scored.values()
    return list(dict.fromkeys(s[metric].signature for metric in results.columns for s in everything if metric in s))


def score_table(results: Results) -> Table:
    """A row for each condition."""
    rows = []
    for condition in results.conditions:
        seeds = len(condition.sets)
        texts = f"{len(condition.first.texts)}" + (f" × {seeds} seeds" if seeds > 1 else "")
        if condition.distinct_contexts < len(condition.first.texts):
            texts += f" of {condition.distinct_contexts} contexts"
        texts += f", {condition.empty} empty" if condition.empty else ""
        rows.append((condition.name, [texts, *_cells(results.scored[condition.name], results.columns)]))
    return Table(["", "texts", *(_described(results.scored, metric).label for metric in results.columns)], rows)


def source_table(results: Results, condition: str) -> Table:
    """One condition's scores, a row for each corpus of its contexts."""
    rows = [(source, _cells(scores, results.columns)) for source, scores in results.by_source[condition].items()]
    return Table(["corpus", *(_described(results.scored, metric).label for metric in results.columns)], rows)


def difference_table(results: Results) -> Table | None:
    """Paired differences from the baseline, a row for each other condition and model; None where nothing is compared."""
    if not results.differences:
        return None
    found = {(d.condition, d.metric): d for d in results.differences}
    columns = [metric for metric in results.columns if any(metric == m for _, m in found)]
    described = {metric: _described(results.scored, metric) for metric in columns}
    rows = []
    for name in dict.fromkeys(d.condition for d in results.differences):
        there = {metric: found[name, metric] for metric in columns if (name, metric) in found}
        cells = [Cell.of_difference(there[m], described[m].digits) if m in there else DASH for m in columns]
        rows.append((name, cells))
    return Table([f"minus {results.differences[0].baseline}", *(described[m].label for m in columns)], rows)


def markdown(results: Results) -> str:
    """scores.md: scores, paired differences, further tables, notes and signatures."""
    parts = [_markdown_table(score_table(results)), INTERVALS]
    if (differences := difference_table(results)) is not None:
        parts += [_markdown_table(differences), f"Differences: {PAIRED}."]
    for section in results.sections:
        parts += [
            f"## {_escape_markdown(section.title)}",
            _markdown_table(section.table),
            _escape_markdown(section.note),
        ]
    parts += [*map(_escape_markdown, results.notes), "\n".join(f"- {_code(s)}" for s in signatures(results))]
    return "\n\n".join(parts) + "\n"


def latex(results: Results) -> str:
    """scores.tex: the same tables for booktabs."""
    parts = [_latex_table(score_table(results))]
    if (differences := difference_table(results)) is not None:
        parts.append(_latex_table(differences))
    for section in results.sections:
        parts.append(f"% {_in_one_line(section.title)}: {_in_one_line(section.note)}\n{_latex_table(section.table)}")
    parts.append("\n".join(f"% {_in_one_line(signature)}" for signature in signatures(results)))
    return "\n\n".join(parts) + "\n"


def terminal(results: Results) -> rich.table.Table:
    """The table of scores upright, a line for each metric: conditions are few, metrics are many."""
    scores = score_table(results)
    table = rich.table.Table(caption=INTERVALS, caption_justify="left")
    table.add_column("")
    for name, _ in scores.rows:
        table.add_column(Text(printable(name)), justify="right", overflow="fold")
    for index, label in enumerate(scores.header[1:]):
        cells = [cells[index] for _, cells in scores.rows]
        lines = [cell if isinstance(cell, str) else f"{cell.number}\n{cell.details}" for cell in cells]
        table.add_row(label, *map(Text, lines))
    return table


def _in_line(cell: Cell | str) -> str:
    """`0.612 [0.590, 0.633]`"""
    return cell if isinstance(cell, str) else f"{cell.number} {cell.details}"


def _in_one_line(text: str) -> str:
    """A name may hold line ends, and a row of a table may not."""
    return re.sub(r"[\r\n]+", " ", text)


def _escape_markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", _in_one_line(text))


def _code(text: str) -> str:
    """Text as Markdown code, between more backticks than stand in it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{_in_one_line(text)}{fence}"


def _markdown_table(table: Table) -> str:
    rows = [[heading, *map(_in_line, cells)] for heading, cells in table.rows]
    lines = [table.header, ["---"] * len(table.header), *rows]
    return "\n".join(f"| {' | '.join(map(_escape_markdown, line))} |" for line in lines)


def _latex_table(table: Table) -> str:
    rows = [table.header, *([heading, *map(_in_line, cells)] for heading, cells in table.rows)]
    # An empty group first, or a name that begins with [ or * would be an argument of the \\ before it.
    starts = ["{}" if row[0].lstrip().startswith(("[", "*")) else "" for row in rows]
    lines = [" & ".join(_in_one_line(text).translate(_LATEX) for text in row) for row in rows]
    head, *body = (f"{start}{line} " + r"\\" for start, line in zip(starts, lines, strict=True))
    columns = "l" + "r" * (len(table.header) - 1)
    top = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*top, *body, r"\bottomrule", r"\end{tabular}"])

"""Tables of scores ready for a paper: Markdown, LaTeX, and the terminal."""

from collections.abc import Sequence

from rich.table import Table

from .results import Results, Scored
from .scores import PAIRED, Difference, Score

INTERVALS = "In brackets 95 % bootstrap intervals; n where some texts could not be measured."


def number(value: float, digits: int = 3) -> str:
    """A number of a table; a dash where nothing could be measured."""
    return "–" if value != value else f"{value:.{digits}f}"


def cell(score: Score | None) -> str:
    """`0.612 [0.590, 0.633]`, the number of texts behind it where some were left out, a dash where there is none."""
    if score is None or not score.n:
        return "–" if score is None else f"– (n = 0, {score.left_out} left out)"
    text = (
        f"{number(score.value, score.digits)} [{number(score.low, score.digits)}, {number(score.high, score.digits)}]"
    )
    if score.metric == "overlap":
        text += f", max {score.maximum:.0f}"
    return text + (f" (n = {score.n})" if score.left_out else "")


def p_value(difference: Difference) -> str:
    """The corrected p-value, `p = 0.012`; 10,000 permutations do not tell small ones apart."""
    return f"p < {1e-3:g}" if difference.p_holm < 1e-3 else f"p = {difference.p_holm:.3f}"


def difference_cell(difference: Difference, digits: int) -> str:
    """`+0.120 [+0.090, +0.151], p = 0.012`."""
    bounds = f"[{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"
    return f"{difference.value:+.{digits}f} {bounds}, {p_value(difference)}"


def _labels(scored: Scored, metrics: Sequence[str]) -> list[str]:
    return [next(scores[metric].label for scores in scored.values() if metric in scores) for metric in metrics]


def signatures(results: Results) -> list[str]:
    """The distinct signatures behind the columns, in their order."""
    everything = results.scored.values()
    return list(dict.fromkeys(s[metric].signature for metric in results.columns for s in everything if metric in s))


def score_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of the table of scores."""
    header = ["", "texts", *_labels(results.scored, results.columns)]
    rows = []
    for condition in results.conditions:
        scores, seeds = results.scored[condition.name], len(condition.sets)
        texts = f"{len(condition.first.texts)}" + (f" × {seeds} seeds" if seeds > 1 else "")
        texts += f", {condition.empty} empty" if condition.empty else ""
        rows.append([condition.name, texts, *(cell(scores.get(metric)) for metric in results.columns)])
    return header, rows


def source_rows(results: Results, condition: str) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of one condition's scores by the corpus of its contexts."""
    parts = results.by_source[condition].items()
    header = ["corpus", *_labels(results.scored, results.columns)]
    return header, [[source, *(cell(scores.get(metric)) for metric in results.columns)] for source, scores in parts]


def difference_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of the table of paired differences from the baseline; no rows where nothing is compared."""
    table = {(d.condition, d.metric): d for d in results.differences}
    columns = [metric for metric in results.columns if any(metric == m for _, m in table)]
    digits = {metric: next(s[metric].digits for s in results.scored.values() if metric in s) for metric in columns}
    names = dict.fromkeys(d.condition for d in results.differences)
    rows = [[n, *(difference_cell(table[n, m], digits[m]) if (n, m) in table else "–" for m in columns)] for n in names]
    baseline = results.differences[0].baseline if results.differences else ""
    return [f"minus {baseline}", *_labels(results.scored, columns)], rows


def markdown(results: Results) -> str:
    """scores.md: scores, paired differences, signatures and notes."""
    parts = [_markdown_table(*score_rows(results)), INTERVALS]
    if results.differences:
        parts += [_markdown_table(*difference_rows(results)), f"Differences: {PAIRED}."]
    parts += [*results.notes, "\n".join(f"- `{signature}`" for signature in signatures(results))]
    return "\n\n".join(parts) + "\n"


def latex(results: Results) -> str:
    """scores.tex: the same two tables for booktabs."""
    parts = [_latex_table(*score_rows(results))]
    if results.differences:
        parts.append(_latex_table(*difference_rows(results)))
    parts.append("\n".join(f"% {signature}" for signature in signatures(results)))
    return "\n\n".join(parts) + "\n"


def terminal(results: Results) -> Table:
    """The table of scores upright, a line for each metric: conditions are few, metrics are many."""
    header, rows = score_rows(results)
    table = Table(caption=INTERVALS, caption_justify="left")
    table.add_column("")
    for row in rows:
        table.add_column(row[0].replace("[", "\\["), justify="right")
    for index, label in enumerate(header[1:], 1):
        table.add_row(label, *(row[index].replace(" [", "\n\\[") for row in rows))
    return table


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([value.replace("|", "\\|") for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "–": "--"}
_LATEX |= {"^": "\\textasciicircum{}", "<": "$<$", ">": "$>$"}


def _latex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" & ".join("".join(_LATEX.get(c, c) for c in value) for value in row) + r" \\" for row in (header, *rows)]
    head, *body = lines
    columns = "l" + "r" * (len(header) - 1)
    top = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*top, *body, r"\bottomrule", r"\end{tabular}"])

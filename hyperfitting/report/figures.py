"""Figures of the report, as SVG that takes the page's font and text colour."""

import io
import re
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..scoring.conditions import one_per_model
from ..scoring.descriptions import Curve, Description
from ..scoring.metrics import metric_descriptions, without_doubles
from ..scoring.results import Results
from ..training.curves import add_legend, draw_runs, line_style, panels_of
from ..training.run_folder import RunFolder

INK = "#010203"  # stands for the page's text colour until the SVG is in the page
MOST_BARS = 40  # about that many in a histogram of whole numbers
LETTERS = 11  # of a legend that fit in an inch of the figure's width, whatever font the browser has
LINE = 0.19  # inches of a legend's line
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hyperfitting",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def draw_all(results: Results) -> list[dict]:
    """[{title, svg, alt, wide}, …]: curves of the runs, then the histograms and the curves by position that metrics feed."""
    metrics = without_doubles(name for scores in results.scored.values() for name in scores)
    if not any(results.curves.values()) and not any(metric.histogram for metric in metrics):  # such as of votes alone
        return []
    import matplotlib

    with matplotlib.rc_context(STYLE):
        drawn = [_runs(_run_folders(results))]
        drawn += [_histogram(results, metric) for metric in metrics if metric.histogram]
        drawn += [_by_position(results, metric) for metric in metric_descriptions() if metric.curve]
    return [figure for figure in drawn if figure]


def _run_folders(results: Results) -> list[RunFolder]:
    """The runs that the training rows and the models come from, as far as there are curves of them."""
    found = [results.train.run] if results.train and results.train.run else []
    found += [Path(m).parent for c in results.conditions for t in c.sets if (m := t.manifest.get("model"))]
    return [run for path in dict.fromkeys(found) if len((run := RunFolder(path)).evaluations()) > 1]


def _runs(runs: Sequence[RunFolder]) -> dict | None:
    if not runs:
        return None
    figure, axes = _axes(len(panels_of(runs)))
    return _finish(
        figure,
        draw_runs(axes, runs),
        "Curves of the runs",
        "Loss, entropy and type-token ratio over the epochs of each run",
    )


def _styles(results: Results) -> dict[str, dict[str, str]]:
    """A condition has one style in all figures."""
    return {condition.name: line_style(index) for index, condition in enumerate(results.conditions)}


def _histogram(results: Results, metric: Description) -> dict | None:
    """Shares of the texts, a line for each condition."""
    figure_of = metric.histogram
    scored = {n: scores[metric.name] for n, scores in results.scored.items() if metric.name in scores}
    values = {name: score.measured for name, score in scored.items() if score.n}
    if not values:
        return None
    longest = max(found.max() for found in values.values())
    width = max(1, longest // MOST_BARS)
    edges = np.arange(-0.5, longest + width + 0.5, width) if figure_of.whole else np.linspace(0, 1, 26)
    styles, (figure, (axis,)), named = _styles(results), _axes(1), []
    for name, found in values.items():
        shares = np.histogram(found, edges)[0] / len(found)
        named.append((axis.stairs(shares, edges, **styles[name], lw=1.6), f"{name} (n = {len(found)})"))
    axis.set(xlabel=figure_of.axis, ylabel="share of the texts", ylim=(0, None))
    return _finish(figure, named, figure_of.title, f"Histogram of {figure_of.axis} for each condition")


def _by_position(results: Results, metric: Description) -> dict | None:
    """A line for each condition, or for each model; of values at every token the mean of eight."""
    figure_of, styles = metric.curve, _styles(results)
    rows = one_per_model(results.conditions) if metric.of_model else {c.name: c for c in results.conditions}
    curves = {name: _curve(results.curves[condition.name], figure_of) for name, condition in rows.items()}
    curves = {name: curve for name, curve in curves.items() if curve}
    if not curves:
        return None
    (figure, (axis,)), named = _axes(1), []
    for name, curve in curves.items():
        step, style = figure_of.step, styles[rows[name].name]
        smooth = np.convolve(curve, np.ones(8) / 8, "valid") if step == 1 and len(curve) >= 32 else np.array(curve)
        first = len(curve) - len(smooth)
        positions = [(first + i + 1) * step for i in range(len(smooth))]
        named += [(line, name) for line in axis.plot(positions, smooth, **style, lw=1.6)]
    axis.set(xlabel="token of the continuation", ylabel=figure_of.axis, ylim=(0, None))
    each = "model" if metric.of_model else "condition"
    alt = f"{figure_of.axis} against the position in the text, a line for each {each}"
    return _finish(figure, named, figure_of.title, alt)


def _curve(curves: dict, figure_of: Curve) -> list[float]:
    """The values that a figure draws; none where they were not measured."""
    for key in figure_of.keys:
        curves = curves.get(key, {})
    return curves or []


def _axes(count: int):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2) if count > 1 else (5.4, 3.4), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _finish(figure, named: Sequence[tuple], title: str, alt: str) -> dict:
    """The figure with its legend: one name a line below the axes, long ones wrapped; it grows by as much as they need."""
    width, height = figure.get_size_inches()
    wrapped = [(line, textwrap.fill(name, int(width * LETTERS))) for line, name in named]
    figure.set_size_inches(width, height + LINE * sum(len(name.splitlines()) for _, name in wrapped))
    add_legend(figure, wrapped, fontsize=8)
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser has fonts of its own
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    prefix = re.sub(r"\W+", "-", title.lower())

    def of_this_page(tag: re.Match) -> str:
        """A tag in the page's colour, with ids that no other figure of the page has; names stand between tags."""
        return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", tag[0].replace(INK, "currentColor"))

    svg = re.sub(r"<[^>]*>", of_this_page, svg[svg.index("<svg") :], flags=re.DOTALL)
    return {"title": title, "alt": alt, "svg": svg, "wide": 'width="720' in svg[:400]}

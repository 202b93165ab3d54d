"""Figures of the report, as SVG that takes the page's font and text colour."""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..scoring.results import Results
from ..scoring.text import SHADE_WINDOW
from ..training.run_folder import RunFolder

INK = "#010203"  # stands for the page's text colour until the SVG is in the page
COLOURS = ("#3b7dd8", "#d9822b", "#2e9e6b", "#b65fc9", "#c94f4f", "#2aa3b5", "#8a8a3a", "#8d7b6a")
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
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def draw_all(results: Results) -> list[dict]:
    """[{title, svg, alt, wide}, …]: curves of the runs, histograms of TTR and overlap, TTR and entropy by position."""
    import matplotlib

    by_position = [
        ("TTR by position", "TTR of 32 tokens", lambda c: c["ttr_by_position"], SHADE_WINDOW),
        ("Entropy by position, true continuations", "entropy, nats", lambda c: _entropy(c, "original"), 1),
        ("Entropy by position, own texts", "entropy, nats", lambda c: _entropy(c, "generated"), 1),
    ]
    with matplotlib.rc_context(STYLE):
        drawn = [_runs(_run_folders(results)), _ttr_histogram(results), _overlap_histogram(results)]
        drawn += [_by_position(results, *figure) for figure in by_position]
    return [figure for figure in drawn if figure]


def _entropy(curves: dict, side: str) -> list[float] | None:
    return curves.get(f"{side}_by_position", {}).get("entropy")


def _run_folders(results: Results) -> list[Path]:
    """The runs that the training rows and the models come from, as far as their metrics are there."""
    found = [results.train.run] if results.train and results.train.run else []
    found += [Path(m).parent for c in results.conditions for t in c.sets if (m := t.manifest.get("model"))]
    return [run for run in dict.fromkeys(found) if RunFolder(run).metrics.is_file()]


def _runs(runs: Sequence[Path]) -> dict | None:
    """Loss, entropy and TTR of each run over its epochs, as in the paper's Figure 2."""
    histories = {}
    for run in runs:
        evaluations = RunFolder(run).evaluations()
        if len(evaluations) > 1:
            histories[run.name] = evaluations
    if not histories:
        return None
    figure, axes = _axes(3)
    panels = (("train_loss", "validation_loss"), ("entropy",), ("ttr",))
    for axis, keys, label in zip(axes, panels, ("loss, nats", "entropy, nats", "TTR, last 96"), strict=True):
        for (name, evaluations), colour in zip(histories.items(), COLOURS * len(histories), strict=False):
            for key, line in zip(keys, ("--", "-") if len(keys) > 1 else ("-",), strict=True):
                points = [(r["epoch"], r[key]) for r in evaluations if r.get(key) is not None]
                what = {"train_loss": ", training", "validation_loss": ", validation"}.get(key, "")
                axis.plot(*zip(*points, strict=True), line, color=colour, lw=1.6, label=name + what)
        axis.set(xlabel="epoch", ylabel=label)
    original = next(iter(histories.values()))[-1].get("original_ttr")
    if original is not None:
        axes[2].axhline(original, color=INK, ls=":", lw=1, label="original text")
        axes[2].legend(fontsize=8)
    axes[0].legend(fontsize=8)
    for axis in axes:
        axis.set_ylim(0, None)
    return _finish(figure, "Curves of the runs", "Loss, entropy and type-token ratio over the epochs of each run")


def _ttr_histogram(results: Results) -> dict | None:
    name = "ttr" if any("ttr" in scores for scores in results.scored.values()) else "ttr_words"
    values = {n: scores[name].values for n, scores in results.scored.items() if name in scores and scores[name].n}
    return _histogram("TTR of the last 96", "TTR of a text", values, np.linspace(0, 1, 26), _colours(results))


def _overlap_histogram(results: Results) -> dict | None:
    found = {condition.name: results.overlap_lengths(condition) for condition in results.conditions}
    values = {name: lengths for name, lengths in found.items() if len(lengths)}
    longest = max((int(lengths.max()) for lengths in values.values()), default=0)
    edges = np.arange(-0.5, longest + 1.5, max(1, longest // 40))
    return _histogram("Longest overlap with a training row", "tokens", values, edges, _colours(results))


def _colours(results: Results) -> dict[str, str]:
    """A condition has one colour in all figures."""
    return {c.name: COLOURS[i % len(COLOURS)] for i, c in enumerate(results.conditions)}


def _legend_below(figure) -> None:
    figure.legend(loc="outside lower left", fontsize=8, ncols=2)


def _histogram(
    title: str, label: str, values: dict[str, np.ndarray], edges: np.ndarray, colours: dict[str, str]
) -> dict | None:
    if not values:
        return None
    figure, (axis,) = _axes(1)
    for name, found in values.items():
        found = found[~np.isnan(found)]
        shares = np.histogram(found, edges)[0] / len(found)
        axis.stairs(shares, edges, color=colours[name], lw=1.6, label=f"{name} (n = {len(found)})")
    axis.set(xlabel=label, ylabel="share of the texts", ylim=(0, None))
    _legend_below(figure)
    return _finish(figure, title, f"Histogram of {label} for each condition")


def _by_position(results: Results, title: str, label: str, curve_of: Callable, step: int) -> dict | None:
    """A line for each condition; of values at every token the mean of eight."""
    curves = {name: curve for name, curves in results.curves.items() if (curve := curve_of(curves))}
    colours = _colours(results)
    if not curves:
        return None
    figure, (axis,) = _axes(1)
    for name, curve in curves.items():
        smooth = np.convolve(curve, np.ones(8) / 8, "valid") if step == 1 and len(curve) >= 32 else np.array(curve)
        first = len(curve) - len(smooth)
        axis.plot([(first + i + 1) * step for i in range(len(smooth))], smooth, color=colours[name], lw=1.6, label=name)
    axis.set(xlabel="token of the continuation", ylabel=label, ylim=(0, None))
    _legend_below(figure)
    return _finish(figure, title, f"{label} against the position in the text, a line for each condition")


def _axes(count: int):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2) if count > 1 else (5.4, 3.8), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _finish(figure, title: str, alt: str) -> dict:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    # Ids are the same in every figure, and one page holds them all.
    prefix = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    return {"title": title, "alt": alt, "svg": svg, "wide": 'width="720' in svg[:400]}

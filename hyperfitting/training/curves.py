"""Curves of runs over their epochs, as in the paper's Figure 2: loss, entropy, TTR. curves.png is that of one run."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..files import write_atomically
from .run_folder import RunFolder

COLOURS = ("#3b7dd8", "#d9822b", "#2e9e6b", "#b65fc9", "#c94f4f", "#2aa3b5", "#8a8a3a", "#8d7b6a")
DASHES = ("-", "--", ":")


def line_style(index: int) -> dict[str, str]:
    """How matplotlib draws the line of one thing among several: colours first, and where these are used up dashes."""
    turn, colour = divmod(index, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": DASHES[turn % len(DASHES)]}


@dataclass(frozen=True)
class Panel:
    """What one of the axes shows of evaluations.

    Attributes:
        lines: key -> style; label: of the axis; count: key of how many rows or texts a value is a mean of.
        names: of the lines in the legend, where the label does not say it.
        steps: whether the loss of every step stands behind them; original: key of the level of the original text.
    """

    label: str
    lines: dict[str, str]
    count: str
    names: dict[str, str] = field(default_factory=dict)
    steps: bool = False
    original: str | None = None


PANELS = (
    Panel(
        label="loss, nats per token",
        lines={"train_loss": "--", "validation_loss": "-"},
        count="n_rows",
        names={"train_loss": "training rows", "validation_loss": "validation rows"},
        steps=True,
    ),
    Panel(label="entropy, nats", lines={"entropy": "-"}, count="n_rows"),
    Panel(label="TTR, last 96 tokens", lines={"ttr": "-"}, count="n_texts", original="original_ttr"),
)


def panels_of(runs: Sequence[RunFolder]) -> list[Panel]:
    """The panels that these runs have something for; none for TTR where the probe was off."""
    evaluations = [evaluation for run in runs for evaluation in run.evaluations()]
    return [panel for panel in PANELS if any(e.get(key) is not None for e in evaluations for key in panel.lines)]


def draw_runs(axes: Sequence, runs: Sequence[RunFolder]) -> list[tuple]:
    """Draw each run in one colour, means with their 95 % intervals, on the axes of `panels_of(runs)`. Returns what the legend of
    the whole figure explains: (line, name)."""
    named = []
    for axis, panel in zip(axes, panels_of(runs), strict=True):
        for index, run in enumerate(runs):
            colour, evaluations = COLOURS[index % len(COLOURS)], run.evaluations()
            if panel.steps:
                steps = [record for record in run.read_metrics() if record["kind"] == "train"]
                losses = [record["loss"] for record in steps]
                axis.plot([record["epoch"] for record in steps], losses, color=colour, alpha=0.3, lw=0.8)
            for key, style in panel.lines.items():
                there = [evaluation for evaluation in evaluations if evaluation.get(key) is not None]
                epochs = [evaluation["epoch"] for evaluation in there]
                measured = [evaluation.get(f"{key}_ci") or [evaluation[key]] * 2 for evaluation in there]
                low, high = ([interval[side] for interval in measured] for side in (0, 1))
                label = f"{run.path.name}, {panel.names[key]}" if key in panel.names else None
                (line,) = axis.plot(
                    epochs, [e[key] for e in there], style, color=colour, lw=1.6, marker=".", label=label
                )
                named += [(line, label)] if label else []
                axis.fill_between(epochs, low, high, color=colour, alpha=0.2, lw=0)
        last = [run.evaluations()[-1] for run in runs]
        levels = [level for evaluation in last if (level := evaluation.get(panel.original)) is not None]
        if levels:
            named.append((axis.axhline(levels[0], color="grey", ls=":", lw=1, label="original"), "original"))
        counts = ", ".join(str(n) for n in dict.fromkeys(e[panel.count] for e in last if panel.count in e))
        axis.set(xlabel="epoch", ylabel=f"{panel.label} (n = {counts})", ylim=(0, None))
    return named


def add_legend(figure, named: Sequence[tuple], **style) -> None:
    """Explain (line, name) pairs below the axes. Names stand there as they are: matplotlib would leave out those that begin with
    `_`, and set what is between two `$` as a formula."""
    lines = [line for line, _ in named]
    legend = figure.legend(lines, ["a name"] * len(lines), loc="outside lower left", frameon=False, **style)
    for text, (_, name) in zip(legend.get_texts(), named, strict=True):
        text.set(text=name, parse_math=False)


def draw_curves(run: RunFolder) -> None:
    """Draw metrics.jsonl into curves.png."""
    from matplotlib.figure import Figure

    panels = panels_of([run])
    figure = Figure(figsize=(3.6 * len(panels), 3.6), layout="constrained")
    add_legend(figure, draw_runs(figure.subplots(1, len(panels)), [run]), ncols=3)
    image = io.BytesIO()
    figure.savefig(image, dpi=130)
    write_atomically(run.curves, image.getvalue())

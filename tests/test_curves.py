"""The one drawing of the paper's Figure 2, for curves.png and for the report."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from hyperfitting.training.curves import add_legend, draw_curves, draw_runs, panels_of
from hyperfitting.training.run_folder import RunFolder


def make_run(path, probe=True, scale=1.0):
    """Three evaluations and two steps."""
    path.mkdir()
    rows = [{"kind": "train", "step": n, "epoch": n / 2, "loss": 4.0 - n} for n in (1, 2)]
    for step in range(3):
        row = {"kind": "evaluation", "step": step, "epoch": float(step), "n_rows": 5, "n_texts": 3}
        names = ("train_loss", "validation_loss", "entropy", *(["ttr"] if probe else []))
        for k, name in enumerate(names):
            value = scale * (step + k + 1)
            row |= {name: value, f"{name}_ci": [value - 0.5, value + 0.5]}
        rows.append(row | ({"original_ttr": 0.75} if probe else {}))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RunFolder(path)


def drawn(runs):
    axes = Figure().subplots(1, len(panels_of(runs)), squeeze=False)[0]
    draw_runs(axes, runs)
    return axes


def test_loss_entropy_and_ttr_of_each_run(tmp_path):
    axes = drawn([make_run(tmp_path / "one"), make_run(tmp_path / "two", scale=2.0)])
    assert [axis.get_ylabel() for axis in axes] == [
        "loss, nats per token (n = 5)",
        "entropy, nats (n = 5)",
        "TTR, last 96 tokens (n = 3)",
    ]
    lines = [{str(line.get_label()): list(line.get_ydata()) for line in axis.lines} for axis in axes]
    assert lines[0]["one, training rows"] == [1, 2, 3] and lines[0]["two, validation rows"] == [4, 6, 8]
    steps = [line for line in axes[0].lines if str(line.get_label()).startswith("_")]
    assert [list(line.get_ydata()) for line in steps] == [[3.0, 2.0]] * 2
    assert [list(line.get_ydata()) for line in axes[1].lines] == [[3, 4, 5], [6, 8, 10]]
    assert lines[2]["original"] == [0.75, 0.75]
    colours = [{line.get_color() for line in axis.lines if len(line.get_ydata()) == 3} for axis in axes]
    assert colours[0] == colours[1] == colours[2] and len(colours[0]) == 2  # a run has one colour
    band = axes[1].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (2.5, 5.5)


@pytest.mark.parametrize("other", [True, False])
def test_without_a_probe(tmp_path, other):
    """No panel and no line where nothing was measured; another run's probe is still drawn."""
    runs = [make_run(tmp_path / "off", probe=False), *([make_run(tmp_path / "on")] if other else [])]
    axes = drawn(runs)
    assert len(axes) == (3 if other else 2)
    if other:
        measured = [line for line in axes[2].lines if line.get_label() != "original" and len(line.get_ydata())]
        assert len(measured) == 1 and axes[2].get_ylabel() == "TTR, last 96 tokens (n = 3)"
    assert all(np.isfinite(line.get_ydata()).all() for axis in axes for line in axis.lines)


def test_names_stand_in_the_legend_as_they_are(tmp_path):
    names = ["_child1", "$\\x{y}$", "_$a$_", "two\nlines"]
    figure = Figure(layout="constrained")
    named = draw_runs(figure.subplots(1, 3), [make_run(tmp_path / name) for name in names])
    add_legend(figure, named)
    figure.savefig(tmp_path / "f.svg")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *(f"{name}, {rows} rows" for name in names for rows in ("training", "validation")),
        "original",
    ]
    assert not any(text.get_parse_math() for text in legend.get_texts())


@pytest.mark.parametrize("probe", [True, False])
def test_curves_png(tmp_path, probe):
    run = make_run(tmp_path / "_$\\x{y}$", probe)
    draw_curves(run)
    assert run.curves.name == "curves.png" and run.curves.read_bytes().startswith(b"\x89PNG")

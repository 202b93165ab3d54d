"""`hyperfitting metrics`: what can be scored, with definitions."""

from ..scoring.metrics import metric_descriptions
from .command_line import read_command_line
from .reporting import run_reporting_errors


def main(arguments: list[str] | None = None) -> int:
    """List the metrics; returns the exit code."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    about = "What can be scored: name, label, definition as in its signature, and what it cannot be computed without."
    read_command_line(arguments, command="hyperfitting metrics", about=about)
    for metric in metric_descriptions():
        needs = f" (needs {metric.needs})" if metric.needs else ""
        print(f"{metric.name:28}{metric.label:38}{metric.definition}{needs}")
    print("NAME_words counts words where NAME counts tokens.")

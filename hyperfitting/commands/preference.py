"""`hyperfitting preference` and launch/preference.py: each of its commands is a module `preference_NAME` of this folder with a `main`."""

import importlib
import sys

from ..errors import UserError
from ..options import nearest
from .reporting import run_reporting_errors

COMMANDS = {
    "build": "draw the pairs of a study and who is asked what",
    "serve": "the page on which people vote",
    "status": "how far a study is, how fast, and who fails checks",
    "table": "win, tie and loss with intervals, agreement, annotators: table.md, .tex, .json, preference.html",
    "judge": "let a language model vote",
    "export": "the study for annotation elsewhere: one HTML file each, Label Studio, CSV",
    "import": "votes that were collected elsewhere",
    "power": "contexts and votes that a difference needs",
}
HELP = """usage: hyperfitting preference COMMAND …

{commands}

`hyperfitting preference COMMAND --help` says more; docs/preference.md goes through a study of 300 contexts.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in COMMANDS:
        return importlib.import_module(f".preference_{words[0]}", __package__).main(words[1:])
    return run_reporting_errors(_help, words)


def _help(words: list[str]) -> None:
    if words and words[0] not in ("-h", "--help"):
        raise UserError(f"unknown command {words[0]!r}{nearest(words[0], COMMANDS)} (there are {', '.join(COMMANDS)})")
    print(HELP.format(commands="\n".join(f"  {name:10}{about}" for name, about in COMMANDS.items())), end="")


if __name__ == "__main__":
    sys.exit(main())

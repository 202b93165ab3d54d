"""`hyperfitting preference table`: what the votes of a study say."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import read_json, write_atomically
from ..options import REQUIRED, Options, option
from ..preference.study import Study
from ..preference.table import tabulate
from ..scoring import tables
from .command_line import read_command_line
from .reporting import run_reporting_errors

FIRST = "table.json"
WRITTEN = (FIRST, "table.md", "table.tex", "preference.html")


@dataclass(kw_only=True)
class TableOptions(Options):
    """Which study, and what its conditions are compared with."""

    study: str = option(
        REQUIRED, "Folder of `hyperfitting preference build`.", words="positional", metavar="STUDY", path=True
    )
    baseline: str | None = option(
        None, "Condition that the others are compared with, paired by context; default: the first.", metavar="NAME"
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the tables; returns the exit code: 0, 1 for a failure, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    _, options = read_command_line(
        arguments,
        command="hyperfitting preference table",
        about="Win, tie and loss of a study's votes so far: table.md, table.tex, table.json and preference.html in its folder.",
        options=TableOptions,
    )
    from ..report import write_report
    from ..terminal import make_console, printable

    study, folder, console = Study(options.study), Path(options.study), make_console()
    _check_own(folder)
    results = tabulate(study, options.baseline)
    found = {"study": study.facts, **results.to_json()}
    write_atomically(folder / FIRST, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_atomically(folder / "table.md", tables.markdown(results))
    write_atomically(folder / "table.tex", tables.latex(results))
    write_report(folder / "preference.html", results, title="Preferences")
    console.print(tables.terminal(results))
    for note in results.notes:
        console.print(printable(note))
    console.print(f"{folder / 'table.json'}, {folder / 'table.md'}, open {folder / 'preference.html'}")


def _check_own(folder: Path) -> None:
    """Raise UserError where files of a table's names are there and no table wrote them: its JSON is the first of its files."""
    there = [name for name in WRITTEN if (folder / name).exists()]
    try:
        own = not there or {"study", "conditions"} <= read_json(folder / FIRST).keys()
    except UserError:
        own = False
    if not own:
        raise UserError(f"{folder} holds {there[0]}, which no `preference table` wrote: move it to another place")


if __name__ == "__main__":
    sys.exit(main())

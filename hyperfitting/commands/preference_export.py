"""`hyperfitting preference export`: a study as files, for where there is no server."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ..options import REQUIRED, Options, option
from ..preference.ballots import ticket
from ..preference.exchange import export_csv, export_label_studio
from ..preference.exports import check_free
from ..preference.offline import export_html
from ..preference.page import PageOptions
from ..preference.study import Study
from .command_line import Invocation, read_command_line
from .reporting import run_reporting_errors

FORMATS = {"html": export_html, "label_studio": export_label_studio, "csv": export_csv}
EPILOG = """examples:
  hyperfitting preference export studies/one --format html --output_dir to_annotators
  hyperfitting preference import studies/one handed_back/*.json
"""


@dataclass(kw_only=True)
class ExportInvocation(Invocation):
    """What changes no file."""

    overwrite: bool = option(False, "Replace files of an earlier export.")


@dataclass(kw_only=True)
class ExportOptions(PageOptions, Options):
    """What is written."""

    study: str = option(
        REQUIRED, "Folder of `hyperfitting preference build`.", words="positional", metavar="STUDY", path=True
    )
    format: str = option(
        "html", "A page that works without a server, tasks of Label Studio, or a table.", choices=tuple(FORMATS)
    )
    output_dir: str = option(
        REQUIRED, "Folder of one file for each annotator, with the pairs without a vote.", path=True
    )


def main(arguments: list[str] | None = None) -> int:
    """Export; returns the exit code: 0, 1 for a failure, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    invocation, options = read_command_line(
        arguments,
        command="hyperfitting preference export",
        about="Write what each annotator is asked as a file that can be answered elsewhere.",
        epilog=EPILOG,
        invocation=ExportInvocation,
        options=ExportOptions,
    )
    from ..terminal import make_console, printable

    study, output = Study(options.study), Path(options.output_dir)
    stems = [(one, output / f"annotator-{one.number:02}") for one in study.annotators()]
    check_free([stem for _, stem in stems], options.format, {ticket(one) for one, _ in stems}, invocation.overwrite)
    output.mkdir(parents=True, exist_ok=True)
    page = PageOptions.of(options)
    written = {path: None for one, stem in stems for path in FORMATS[options.format](study, one, stem, page)}
    say = make_console().print
    for path in written:
        say(printable(str(path)), soft_wrap=True)
    say("each file is for one annotator: what it hands back enters with `hyperfitting preference import`")


if __name__ == "__main__":
    sys.exit(main())

"""`hyperfitting preference import`: votes that were collected elsewhere."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..options import REQUIRED, Options, option
from ..preference.annotators import without_consent
from ..preference.exchange import import_files
from ..preference.study import Study
from .command_line import read_command_line
from .reporting import run_reporting_errors


@dataclass(kw_only=True)
class ImportOptions(Options):
    """What is read."""

    study: str = option(
        REQUIRED, "Folder of `hyperfitting preference build`.", words="positional", metavar="STUDY", path=True
    )
    files: tuple[str, ...] = option(
        (),
        "What annotators handed back: JSON of an exported page, JSON, JSON-MIN, CSV or TSV of Label Studio, or a table.",
        words="positional",
        metavar="FILE",
    )
    consent: str | None = option(
        None,
        "How those who answered have agreed to take part, where their files do not say it; is stored and shown in the table.",
        metavar="TEXT",
    )

    def problems(self) -> list[str]:
        return ["consent says nothing"] if self.consent is not None and not self.consent.strip() else []


def main(arguments: list[str] | None = None) -> int:
    """Import; returns the exit code: 0, 1 for a failure, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    _, options = read_command_line(
        arguments,
        command="hyperfitting preference import",
        about="Store votes of files. A vote that is there stays; a file that is not of this study is refused whole.",
        options=ImportOptions,
    )
    from ..terminal import make_console, printable

    if not options.files:
        raise UserError("nothing to import: name the files that annotators handed back")
    say, study = make_console().print, Study(options.study)
    files = [Path(file).expanduser() for file in options.files]
    for path, counts in import_files(study, files, options.consent).items():
        say(printable(f"{path}: {counts}"), soft_wrap=True)
    if silent := without_consent(study):
        numbers = ", ".join(str(one.number) for one in silent)
        say(
            f"it is not on record that these annotators agreed to take part: {numbers}; ask them, then import their files again with "
            '--consent "how they agreed"',
            soft_wrap=True,
        )


if __name__ == "__main__":
    sys.exit(main())

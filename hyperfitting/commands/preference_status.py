"""`hyperfitting preference status`: how far a study is."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ..options import REQUIRED, Options, option
from ..preference.agreement import alpha, counts_of
from ..preference.annotators import Conduct, conducts, pace
from ..preference.outcomes import table_votes
from ..preference.study import Study
from .command_line import read_command_line
from .reporting import run_reporting_errors


@dataclass(kw_only=True)
class StatusOptions(Options):
    """Which study."""

    study: str = option(
        REQUIRED, "Folder of `hyperfitting preference build`.", words="positional", metavar="STUDY", path=True
    )


def main(arguments: list[str] | None = None) -> int:
    """Print how far a study is; returns the exit code: 0, 1 for a failure, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    _, options = read_command_line(
        arguments,
        command="hyperfitting preference status",
        about="Progress, pace and agreement of a study so far, and who fails checks; what texts are preferred is left to table.",
        options=StatusOptions,
    )
    import rich.table

    from ..terminal import make_console

    study, console = Study(options.study), make_console()
    people = conducts(study)
    table = rich.table.Table()
    for heading in ("annotator", "votes", "repeats alike", "checks failed", "A of A and B", "s/vote"):
        table.add_column(heading, justify="right")
    for one in people:
        table.add_row(*_row(one))
    console.print(table)
    for line in _lines(study, people):
        console.print(line)


def _row(one: Conduct) -> list[str]:
    sides = one.left + one.right
    return [
        f"{one.annotator.number}",
        f"{one.given} of {one.asked}",
        f"{one.same} of {one.repeats}",
        f"{one.failed} of {one.checks}" + (" (fails)" if one.left_out else ""),
        f"{one.left / sides:.0%}" if sides else "–",
        "–" if one.seconds is None else f"{one.seconds:.0f}",
    ]


def _lines(study: Study, people: Sequence[Conduct]) -> list[str]:
    """What stands below the table."""
    from ..terminal import duration

    given, asked = sum(one.given for one in people), sum(one.asked for one in people)
    found = [
        f"{given} of {asked} votes ({given / asked:.0%}), {sum(one.given > 0 for one in people)} annotators have begun"
    ]
    seconds = pace(study.votes())
    if seconds is not None and given < asked:
        longest = max(one.asked - one.given for one in people)
        found.append(
            f"{duration(seconds)} from vote to vote; at that pace {duration(longest * seconds)} for who has most left"
        )
    counts, contexts = counts_of(table_votes(study))
    agreement = alpha(counts, contexts, "ordinal")
    if agreement.value == agreement.value:
        found.append(
            f"Krippendorff's alpha (ordinal) {agreement.value:.2f} [{agreement.low:.2f}, {agreement.high:.2f}] on {agreement.n} pairs "
            "with two votes or more"
        )
    failing = [str(one.annotator.number) for one in people if one.left_out]
    if failing:
        found.append(
            f"annotators {', '.join(failing)} fail the checks (more than {study.facts['rule']['most_failed']:.0%})"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())

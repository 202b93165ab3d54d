"""`hyperfitting preference build`: pairs, and who is asked what."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ..options import REQUIRED, Options, option
from ..preference.study import Study
from .command_line import Invocation, read_command_line
from .reporting import run_reporting_errors

EPILOG = """examples:
  python launch/preference.py build generations/base generations/llama --against original --annotators 6 --votes 3 --output_dir studies/one
  python launch/preference.py build base=a.jsonl tuned=b.jsonl --against base --length 128 --length 256 --annotators 20 --output_dir studies/two
"""


@dataclass(kw_only=True)
class PairOptions:
    """What is compared."""

    sets: tuple[str, ...] = option(
        (),
        "Folders of launch/generate.py, or any .jsonl with texts.",
        words="positional",
        metavar="[NAME=]WHERE",
    )
    against: str = option(
        "original", "What every condition is compared with: the original text, or another condition.", metavar="NAME"
    )
    length: tuple[str, ...] = option(
        ("256",),
        "Most tokens (words where texts come without a tokenizer) of context and continuation; both sides are then cut to as many "
        "characters; repeatable.",
        metavar="N",
    )
    num_contexts: int | None = option(None, "Contexts, as even over the corpora as they allow; default: all.", least=1)
    tokenizer: str | None = option(None, "Hub id or local folder: counts tokens of all texts.", path=True)
    text_column: str = option("text", "Column of a foreign file that holds the continuation.")


@dataclass(kw_only=True)
class AssignmentOptions:
    """Who is asked what."""

    annotators: int = option(6, "How many people vote; from 20 on intervals hold their level.", least=1)
    votes: int = option(3, "Votes of different annotators on each pair.", least=1)
    repeats: float = option(
        0.05, "Pairs asked again with sides swapped, as a share of an annotator's votes.", least=0, greatest=0.5
    )
    checks: float = option(
        0.05, "Pairs with a shuffled text, as a share of an annotator's votes.", least=0, greatest=0.5
    )
    most_failed: float = option(
        0.25, "Who fails a larger share of the checks is left out of the table's second part.", least=0, below=1
    )
    seed: int = option(0, "Of the draw of contexts, annotators, order and sides.", least=0)


@dataclass(kw_only=True)
class BuildOptions(PairOptions, AssignmentOptions, Options):
    """All settings of a study: the keys of options.yaml and the flags of the command line."""

    output_dir: str = option(REQUIRED, "Folder of the study, which is never replaced.", path=True)

    def problems(self) -> list[str]:
        wrong = [length for length in self.length if not length.isdecimal() or not length.strip("0")]
        found = [f"length must be a whole number above 0, not {length!r}" for length in wrong]
        found += [f"length must be below 10,000,000, not {length[:20]}" for length in self.length if len(length) > 7]
        if len(set(self.length)) < len(self.length):
            found.append("length is given twice")
        return found


def main(arguments: list[str] | None = None) -> int:
    """Make a study; returns the exit code: 0, 1 for a failure, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    _, options = read_command_line(
        arguments,
        command="hyperfitting preference build",
        about="Draw a study: blind pairs of texts, who is asked what, in a folder of its own.",
        epilog=EPILOG,
        invocation=Invocation,
        options=BuildOptions,
    )
    from ..codec import load_codec
    from ..preference.assignment import Plan
    from ..preference.build import build, check_free
    from ..terminal import Progress, make_console, printable, quiet_libraries
    from .score import read_conditions

    quiet_libraries()
    folder, console = Path(options.output_dir), make_console()
    check_free(folder, options)
    with Progress(console) as progress, progress.task("drawing the study"):
        codec = load_codec(None, options.tokenizer) if options.tokenizer else None
        conditions = read_conditions(options.sets, (), options.text_column, tokenizer=codec)
        plan = Plan(
            annotators=options.annotators,
            votes=options.votes,
            repeats=options.repeats,
            checks=options.checks,
            seed=options.seed,
        )
        lengths = [int(length) for length in options.length]
        study = build(
            folder,
            conditions,
            options.against,
            lengths,
            codec,
            options.num_contexts,
            plan,
            options.most_failed,
            options,
        )
    for line in _about(study):
        console.print(printable(line))
    study.close()


def _about(study: Study) -> list[str]:
    """What was drawn."""
    facts = study.facts
    lists = [study.progress(one)[1] for one in study.annotators()]
    lengths = " and ".join(map(str, facts["lengths"]))
    corpora = ", ".join(f"{count} of {name or 'no name'}" for name, count in facts["sources"].items())
    return [
        f"{', '.join(facts['conditions'])} against {facts['against']}: {facts['contexts']} contexts ({corpora}), cut to {lengths} "
        f"{facts['unit']}, then both sides of a pair to as many characters",
        *(f"left out: {len(ids)} contexts that {why}" for why, ids in facts["left_out"].items()),
        *(
            [f"without a check item: {count} contexts whose text reads much the same with its words shuffled"]
            if (count := facts["unchecked"])
            else []
        ),
        f"{len(lists)} annotators with {min(lists)} to {max(lists)} items each, hidden repeats and checks included",
        f"next: hyperfitting preference serve {study.folder}",
    ]


if __name__ == "__main__":
    sys.exit(main())

"""`hyperfitting preference judge`: a language model votes on a study."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..options import REQUIRED, Options, option
from ..preference.judging.figures import (
    Rate,
    agreement_of_people,
    agreement_with_people,
    position_consistency,
    verdicts,
)
from ..preference.study import Study
from .command_line import Invocation, read_command_line
from .reporting import run_reporting_errors

if TYPE_CHECKING:
    from ..preference.judging.judge import Asked

EPILOG = """examples:
  hyperfitting preference judge studies/one --endpoint http://127.0.0.1:8000/v1 --model some-model
  hyperfitting preference judge studies/one --model HuggingFaceTB/SmolLM2-1.7B-Instruct
"""


@dataclass(kw_only=True)
class JudgeInvocation(Invocation):
    """What changes no answer."""

    concurrency: int = option(8, "Prompts that an endpoint is asked at a time.", least=1, greatest=256)
    api_key_variable: str = option("OPENAI_API_KEY", "Environment variable with the key of the endpoint.")


@dataclass(kw_only=True)
class JudgeOptions(Options):
    """Who judges what."""

    study: str = option(
        REQUIRED, "Folder of `hyperfitting preference build`.", words="positional", metavar="STUDY", path=True
    )
    model: str = option(REQUIRED, "Name of a model at the endpoint, or else a Hub id or local folder.", path=True)
    endpoint: str | None = option(None, "OpenAI-compatible endpoint; default: the model runs here.", metavar="URL")
    max_tokens: int = option(512, "Length of an answer.", least=1)
    dtype: str = option("auto", "Dtype of a model that runs here.", choices=("auto", "float32", "bfloat16"))
    trust_remote_code: bool = option(False, "Run code that comes with a checkpoint or tokenizer.")


def main(arguments: list[str] | None = None) -> int:
    """Judge; returns the exit code: 0, 1 when prompts were left without a whole answer, 2 for something the user can fix,
    130 when it was stopped."""
    outcome: list[int] = []
    return run_reporting_errors(lambda words: outcome.append(_run(words)), arguments) or outcome[0]


def _run(arguments: list[str] | None) -> int:
    invocation, options = read_command_line(
        arguments,
        command="hyperfitting preference judge",
        about="Let a language model vote on every pair, in both orders; where it contradicts itself, that is a tie.",
        epilog=EPILOG,
        invocation=JudgeInvocation,
        options=JudgeOptions,
    )
    from ..preference.judging.judge import read_prompt, run_judge
    from ..terminal import Progress, make_console, printable, quiet_libraries

    quiet_libraries()
    study, console = Study(options.study), make_console()
    read_prompt(Path(options.study))  # what is wrong with it is said before a model is loaded
    judge = _find_judge(invocation, options)
    try:
        with Progress(console) as progress:
            asked = run_judge(study, judge, progress)
    except KeyboardInterrupt:
        print("stopped: answers so far are kept, and the same command goes on with the others", file=sys.stderr)
        return 130
    people = study.votes()
    own = [vote for vote in study.votes("judge") if vote.annotator == asked.judge.annotator]
    for name, rate in (
        ("the same in both orders", position_consistency(own)),
        ("agreement with people", agreement_with_people(own, people)),
        ("people with people on these pairs", agreement_of_people(people, list(verdicts(own)))),
    ):
        console.print(f"{name}: {_shown(rate)}")
    console.print(printable(f"{asked.stored} votes stored, {len(own)} in all; answers in {asked.raw}"), soft_wrap=True)
    for note in judge.notes:
        console.print(f"note: {note}", soft_wrap=True)
    if asked.unreadable:
        console.print(f"{asked.unreadable} answers name no choice and are no votes")
    failures = _failures(asked, options.max_tokens)
    for failure in failures:
        print(f"error: {printable(failure)}", file=sys.stderr)
    return 1 if failures else 0


def _failures(asked: "Asked", max_tokens: int) -> list[str]:
    """Why votes are missing that could be there."""
    found = []
    if asked.cut:
        found.append(
            f"{asked.cut} answers were cut before they named a choice and are no votes: give more than --max_tokens {max_tokens}, which "
            "is another judge and asks everything"
        )
    if asked.overlong:
        found.append(f"{asked.overlong} prompts are longer than the model reads and were skipped ({asked.why})")
    if asked.unanswered:
        found.append(f"{asked.unanswered} prompts have no answer ({asked.why}): give the same command again")
    return found


def _find_judge(invocation: JudgeInvocation, options: JudgeOptions):
    if options.endpoint is None:
        from ..preference.judging.local import LocalJudge

        return LocalJudge(options.model, options.max_tokens, options.dtype, options.trust_remote_code)
    from ..preference.judging.endpoint import EndpointJudge

    key = invocation.api_key_variable
    return EndpointJudge(options.endpoint, options.model, options.max_tokens, invocation.concurrency, key)


def _shown(rate: Rate | None) -> str:
    if rate is None:
        return "no pairs"
    return f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}] of {rate.n} pairs, {rate.contexts} contexts"


if __name__ == "__main__":
    sys.exit(main())

"""`hyperfitting preference power`: contexts and votes that a difference needs."""

import sys
from dataclasses import dataclass

from ..options import Options, option
from ..preference.power import SIZES, WANTED, Outlook, Size, contexts_needed, outlook, reading_hours
from ..preference.simulation import Effects, tie_width_of
from .command_line import read_command_line
from .reporting import run_reporting_errors

EPILOG = """examples:
  hyperfitting preference power --contexts 300 --votes 3 --difference 5
  hyperfitting preference power --study studies/pilot --difference 5 --annotators 20
"""
_USUAL = Effects()


@dataclass(kw_only=True)
class SizeOptions:
    """How large the study is."""

    contexts: int = option(300, "Contexts.", least=10, greatest=10_000)
    votes: int = option(3, "Votes of different annotators on each pair.", least=1)
    annotators: int = option(20, "Annotators.", least=2, greatest=1000)
    words: int = option(
        360, "Words on a page, context and both texts, for the time of reading.", least=1, greatest=1_000_000
    )


@dataclass(kw_only=True)
class EffectOptions:
    """What is to be found, and how contexts and annotators differ: standard deviations in units of a single vote's noise."""

    difference: float = option(5, "Percentage points of preferred-or-equal between two conditions.", above=0, below=100)
    share: float = option(40, "Percent preferred or equal under the weaker condition.", above=0, below=100)
    study: str | None = option(
        None, "Study whose votes say share and effects; those given here are then not used.", path=True
    )
    ties: float = option(15, "Percent of ties where neither text is better.", least=0, below=100)
    context_effect: float = option(_USUAL.context, "What both conditions share on a context.", least=0, greatest=100)
    text_effect: float = option(_USUAL.text, "Of one condition's text.", least=0, greatest=100)
    annotator_effect: float = option(
        _USUAL.annotator, "What an annotator gives every condition.", least=0, greatest=100
    )
    taste_effect: float = option(_USUAL.taste, "What an annotator gives one condition.", least=0, greatest=100)
    tie_spread: float = option(
        _USUAL.tie_spread, "How annotators differ in what is equal to them.", least=0, greatest=100
    )


@dataclass(kw_only=True)
class PowerOptions(SizeOptions, EffectOptions, Options):
    """All settings of a simulation."""

    simulations: int = option(500, "Simulated studies for each number.", least=20)
    seed: int = option(0, "Of the simulation.", least=0)

    def problems(self) -> list[str]:
        found = []
        if self.study is None and self.share + self.difference >= 100:
            found.append("share and difference together must be below 100")
        if self.study is not None and self.difference >= 98:  # a study's share is 1 % at least
            found.append(f"difference must be below 98 with study, not {self.difference:g}")
        if self.votes > self.annotators:
            found.append(f"votes must be at most annotators ({self.annotators}), not {self.votes}")
        return found


def main(arguments: list[str] | None = None) -> int:
    """Print power, half-widths and hours; returns the exit code: 0, 1 for a failure, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    _, options = read_command_line(
        arguments,
        command="hyperfitting preference power",
        about="Contexts and votes that a difference of two conditions needs, by simulated studies with effects of contexts and annotators.",
        epilog=EPILOG,
        options=PowerOptions,
    )
    from ..terminal import Progress, make_console

    console = make_console()
    share, effects = _given(options) if options.study is None else _of_study(options)
    size = Size(options.contexts, options.votes, options.annotators)
    with Progress(console) as progress:
        with progress.task("simulating this study"):
            found = outlook(size, effects, share, options.difference / 100, options.simulations, options.seed)
        columns = sorted({1, 2, options.votes, 5} & set(range(1, options.annotators + 1)))
        needed = {}
        with progress.task("simulating others", total=len(columns), unit="number of votes") as task:
            for votes in columns:
                needed[votes] = contexts_needed(
                    votes,
                    options.annotators,
                    effects,
                    share,
                    options.difference / 100,
                    options.simulations,
                    options.seed,
                )
                task.advance()
    for line in _lines(options, share, effects, found, needed):
        console.print(line)


def _given(options: PowerOptions) -> tuple[float, Effects]:
    bare = Effects(
        context=options.context_effect,
        text=options.text_effect,
        annotator=options.annotator_effect,
        taste=options.taste_effect,
        tie_width=0.0,
        tie_spread=options.tie_spread,
    )
    return options.share / 100, Effects(**{**vars(bare), "tie_width": tie_width_of(bare, options.ties / 100)})


def _of_study(options: PowerOptions) -> tuple[float, Effects]:
    """What the votes of a study say, at its longest length."""
    from ..preference.outcomes import outcomes_of
    from ..preference.simulation import estimate_effects
    from ..preference.study import Study

    outcomes = outcomes_of(Study(options.study))
    effects, _ = estimate_effects(outcomes)
    equal = [float((one[one == one] >= 0.5).mean()) for one in outcomes]
    return min(max(min(equal), 0.01), 0.99 - options.difference / 100), effects


def _lines(
    options: PowerOptions, share: float, effects: Effects, found: Outlook, needed: dict[int, int | None]
) -> list[str]:
    items = round(1.1 * options.contexts * options.votes * 2 / options.annotators)
    hours = reading_hours(items, options.words, options.annotators, options.seed)
    low, high = (sorted(hours.ravel())[int(q * (hours.size - 1))] for q in (0.025, 0.975))
    effect = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in vars(effects).items())
    lines = [
        f"{100 * share:.1f} % against {100 * share + options.difference:.1f} % preferred or equal; effects: {effect}",
        f"{options.contexts} contexts, {options.votes} votes, {options.annotators} annotators: power {found.power:.0%} to find the "
        f"difference (paired, 5 %); half-widths {found.share_half_width:.1f} points of a share, "
        f"{found.difference_half_width:.1f} of the difference",
        f"reading: {items} items for each annotator, {hours.mean():.1f} h [{low:.1f}, {high:.1f}], "
        f"{hours.sum(axis=1).mean():.0f} h in all",
        f"contexts for {WANTED:.0%}: "
        + ", ".join(
            f"{f'more than {SIZES[-1]}' if count is None else count} with {votes} vote{'s' * (votes > 1)}"
            for votes, count in needed.items()
        ),
        f"by {options.simulations} simulated studies of each size, of {', '.join(map(str, SIZES))} contexts",
    ]
    if options.annotators < 20:
        lines.append("with fewer than 20 annotators intervals may hold less than 95 %: see docs/preference.md")
    return lines


if __name__ == "__main__":
    sys.exit(main())

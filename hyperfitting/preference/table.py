"""All that the votes of a study say, as tables: shares, differences, agreement, strengths, annotators, and the paper beside."""

from collections.abc import Sequence
from dataclasses import replace

from ..errors import UserError
from ..scoring.cells import DASH, Cell, Section, Table
from ..scoring.conditions import Condition
from ..scoring.differences import PAIRED
from ..scoring.results import Results
from ..scoring.tables import difference_table, score_table
from .agreement import Agreement, alpha, counts_of, fleiss_kappa
from .annotators import Conduct, conducts, without_consent
from .cutting import ENDINGS
from .davidson import strengths
from .outcomes import NO_VOTES, Scored, check_shown, table_votes, vote_results, vote_scores
from .pairs import ALL_PAIRS, ORIGINAL
from .published import SOURCE, TABLE_1
from .study import Annotator, Study, Vote

ENOUGH = 20  # annotators from which intervals are known to hold their level (benchmarks/preference_coverage.py)


def tabulate(study: Study, baseline: str | None = None) -> Results:
    """Scores of the conditions with all further tables as sections.

    Raises:
        UserError: there are no votes, or no condition is called `baseline`.
    """
    facts, votes = study.facts, table_votes(study)
    if baseline is not None and baseline not in facts["conditions"]:
        raise UserError(f"--baseline {baseline!r} is none of the conditions: {', '.join(facts['conditions'])}")
    if not votes:
        raise UserError(NO_VOTES.format(study.folder))
    results = vote_results(study, votes, baseline)
    return replace(results, notes=notes(study, votes), sections=sections(study, results, baseline))


def scores_beside(study: Study, conditions: Sequence[Condition]) -> Scored:
    """condition -> metric -> score of the votes, for those of the conditions that a study names; values in the order of their texts.

    Raises:
        UserError: there are no votes, it names none of them, or its contexts are others.
    """
    facts, votes = study.facts, table_votes(study)
    if not votes:
        raise UserError(NO_VOTES.format(study.folder))
    named = {condition.name: condition for condition in conditions if condition.name in facts["conditions"]}
    if not named:
        raise UserError(
            f"--preference {study.folder}: it asks about {', '.join(facts['conditions'])}, and the conditions here are "
            f"{', '.join(condition.name for condition in conditions)}: write NAME=WHERE to name them alike"
        )
    for name, condition in named.items():
        if unknown := {vote.context_id for vote in votes if vote.condition == name} - set(condition.first.ids):
            raise UserError(f"--preference {study.folder}: context {min(unknown)!r} is not in {name!r}")
    check_shown(study, votes, conditions)
    return {name: vote_scores(facts, votes, name, condition) for name, condition in named.items()}


def with_study(results: Results, study: Study) -> Results:
    """Results that hold `scores_beside`, with the notes and tables of the study after their own."""
    votes = table_votes(study)
    return replace(results, notes=[*results.notes, *notes(study, votes)], sections=sections(study, results))


def sections(study: Study, results: Results, baseline: str | None = None) -> list[Section]:
    """What belongs to a study beside its scores."""
    people, votes = conducts(study), table_votes(study)
    failing = [one.annotator for one in people if one.left_out]
    found = []
    if study.facts["against"] == ORIGINAL:
        found.append(_beside_the_paper(study.facts, results))
    if failing:
        found += _without(study, failing, baseline)
    return [*found, _agreement(votes, study.facts), _strengths(votes, study.facts), _annotators(people, study.facts)]


def notes(study: Study, votes: Sequence[Vote]) -> list[str]:
    """Sentences that belong under the table."""
    facts = study.facts
    people, contexts = len({vote.annotator for vote in votes}), len({vote.context_id for vote in votes})
    asked = facts["plan"]["votes"] * facts["contexts"] * len(facts["lengths"]) * len(facts["conditions"])
    found = [
        f"Votes against {facts['against']}: {len(votes)} of {asked}, by {people} annotators on {contexts} contexts; hidden repeats and "
        "check items do not count."
    ]
    if people < ENOUGH:
        found.append(
            f"Intervals rest on {people} annotators: below {ENOUGH} they may hold less than their 95 % or be wider than they need "
            "to be, because how much annotators differ is hardly known."
        )
    found.append(_how_cut(facts))
    removed = {name: sum(counts.values()) for name, counts in facts["tells"].items()}
    if any(removed.values()):
        found.append(
            "Removed on both sides alike: "
            + "; ".join(
                f"of {name} " + ", ".join(f"{count} × {tell}" for tell, count in facts["tells"][name].items())
                for name, total in removed.items()
                if total
            )
            + "."
        )
    if facts.get("unchecked"):
        found.append(
            f"{facts['unchecked']} contexts have no check item: with its words shuffled their text reads much the same."
        )
    found += [f"{len(ids)} contexts are not in the study: they {why}." for why, ids in facts["left_out"].items()]
    return found + _consent(study)


def _consent(study: Study) -> list[str]:
    """Of those who did not agree on a page of ours: what was stated when their files were imported, or that nothing was."""
    stated: dict[str, list[str]] = {}
    for annotator, statement in study.facts.get("consent", {}).items():
        stated.setdefault(statement, []).append(str(int(annotator) + 1))
    found = [
        f'That these annotators agreed to take part was stated when their votes were imported, "{what}": {", ".join(numbers)}.'
        for what, numbers in stated.items()
    ]
    if silent := [str(one.number) for one in without_consent(study)]:
        found.append(
            f"It is not on record that these annotators, who voted elsewhere than on its page, agreed to take part: {', '.join(silent)}."
        )
    return found


def _how_cut(facts: dict) -> str:
    """How both sides of a pair were cut alike; studies of earlier versions did it in tokens or words alone."""
    cut, unit = facts["cut"], facts["unit"]
    endings = ", ".join(
        f"{cut['endings'][key]} pairs where {text}" for key, text in ENDINGS.items() if key in cut["endings"]
    )
    if "alike" not in cut:
        return (
            f"Both sides of a pair were cut to the same number of {unit}, context included, and a little shorter where a sentence ended: "
            f"{endings}."
        )
    means = " and ".join(f"{count:.0f} at length {length}" for length, count in cut["characters"].items())
    differing = (
        f"{cut['differing']} pairs differ, by at most {cut['widest']}" if cut["differing"] else "no pair differs"
    )
    return (
        f"Of each text at most as many {unit} as the length says were taken, context included, then both sides of a pair were cut to the "
        f"same number of {cut['alike']} (on average {means}; {differing}): {endings}."
    )


def _beside_the_paper(facts: dict, results: Results) -> Section:
    """The layout of Table 1, ours first: those of the study that are scored here."""
    lengths = sorted({128, 256, *facts["lengths"]})
    rows = []
    for name in (name for name in facts["conditions"] if name in results.scored):
        scores = results.scored[name]
        cells = [scores.get(f"preferred_or_equal_{length}") for length in lengths]
        rows.append((name, [DASH if score is None else Cell.of_score(score) for score in cells]))
    for name, *published in TABLE_1:
        there = dict(zip((128, 256), published, strict=True))
        shown = [there.get(length) for length in lengths]
        rows.append((f"paper: {name}", [DASH if value is None else f"{value:.1f}" for value in shown]))
    header = ["preferred or equal to the original, %", *(f"{length} {facts['unit']}" for length in lengths)]
    note = f"Paper: {SOURCE}; its lengths are tokens of its own models."
    return Section("Beside the paper", Table(header, rows), note)


def _without(study: Study, failing: Sequence[Annotator], baseline: str | None) -> list[Section]:
    """The scores without those who fail the rule."""
    votes, share = table_votes(study, {one.annotator for one in failing}), study.facts["rule"]["most_failed"]
    note = (
        f"Without annotators {', '.join(str(one.number) for one in failing)}, who failed more than {share:.0%} of their check items: the rule was "
        "fixed when the study was made."
    )
    if not votes:
        return [Section("Without those who fail", Table(["", "votes"], [("nobody is left", ["0"])]), note)]
    results = vote_results(study, votes, baseline)
    found = [Section("Without those who fail", score_table(results), note)]
    if (differences := difference_table(results)) is not None:
        found.append(Section("Differences without them", differences, f"{PAIRED}."))
    return found


def _agreement(votes: Sequence[Vote], facts: dict) -> Section:
    """Over all pairs, and of each condition."""
    parts = {ALL_PAIRS: votes}
    if len(facts["conditions"]) > 1:
        parts |= {name: [vote for vote in votes if vote.condition == name] for name in facts["conditions"]}
    rows = []
    for name, part in parts.items():
        counts, contexts = counts_of(part)
        found = (alpha(counts, contexts, "ordinal"), alpha(counts, contexts), fleiss_kappa(counts, contexts))
        rows.append((name, [str(found[0].n), *map(_cell, found)]))
    header = ["", "pairs with two votes or more", "alpha, ordinal", "alpha, nominal", "Fleiss' kappa"]
    note = (
        "Krippendorff's alpha and Fleiss' kappa: 1 is full agreement, 0 what chance gives. In brackets 95 % bootstrap intervals over "
        "contexts. Levels are loss, tie and win, and five of them where annotators said how clearly."
    )
    return Section("Agreement", Table(header, rows), note)


def _cell(found: Agreement) -> Cell | str:
    if found.value != found.value:
        return DASH
    return Cell("score", found.value, found.low, found.high, found.n, digits=2)


def _strengths(votes: Sequence[Vote], facts: dict) -> Section:
    """Of every condition at each length."""
    rows: dict[str, list[Cell | str]] = {name: [] for name in facts["conditions"]}
    for length in facts["lengths"]:
        part = [vote for vote in votes if vote.length == length]
        there = sorted({vote.condition for vote in part}, key=facts["conditions"].index)
        found = strengths(part, there)
        cells = {
            name: Cell("difference", float(value), float(value - half), float(value + half), len(part), digits=2)
            for name, value, half in zip(found.names, found.values, found.half_widths, strict=True)
            if value == value
        }
        for name in facts["conditions"]:
            rows[name].append(cells.get(name, DASH))
    header = ["log strength", *(f"{length} {facts['unit']}" for length in facts["lengths"])]
    note = (
        f"Bradley-Terry strengths with ties (Davidson 1970), natural logarithms; {facts['against']} has 0. A difference of 0.7 doubles the "
        "odds of being preferred. 95 % intervals over contexts and annotators."
    )
    return Section("Strengths", Table(header, list(rows.items())), note)


def _annotators(people: Sequence[Conduct], facts: dict) -> Section:
    rows = [
        (
            f"annotator {one.annotator.number}",
            [
                f"{one.given} of {one.asked}",
                f"{one.same} of {one.repeats}",
                f"{one.failed} of {one.checks}" + (", left out" if one.left_out else ""),
                _share(one.left, one.left + one.right),
                _share(one.ties, one.left + one.right + one.ties),
                DASH if one.seconds is None else f"{one.seconds:.0f}",
            ],
        )
        for one in people
    ]
    header = ["", "votes", "repeats answered alike", "checks failed", "A of A and B", "ties", "seconds a vote"]
    same, repeats = sum(one.same for one in people), sum(one.repeats for one in people)
    note = (
        f"{same} of {repeats} hidden repeats were answered alike with sides swapped. A check item is failed where the intact text is not "
        f"preferred to its own words shuffled; who fails more than {facts['rule']['most_failed']:.0%} of them is left out of a second "
        "table. Seconds are the median on a page with focus."
    )
    return Section("Annotators", Table(header, rows), note)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else DASH

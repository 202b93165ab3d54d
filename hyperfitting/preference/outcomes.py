"""Votes as scores of conditions: the same types as every metric, so that tables, reports and differences need no second code."""

from collections.abc import Collection, Sequence

import numpy as np

from ..errors import UserError
from ..records import GeneratedText, GenerationSet
from ..scoring.conditions import Condition
from ..scoring.differences import compare
from ..scoring.results import Results, by_source
from ..scoring.scores import Score, summarize
from ..scoring.vote_metrics import OUTCOMES, vote_metric
from .pairs import ORIGINAL
from .shown import begins_as, letters
from .study import Pair, Study, Vote

NO_VOTES = "{} has no votes yet: `hyperfitting preference status` says how far it is"
Scored = dict[str, dict[str, Score]]  # condition -> metric -> score


def table_votes(study: Study, without: Collection[int] = ()) -> list[Vote]:
    """What people voted on the pairs of the table: no repeats, no checks, and nothing of the annotators `without`.

    Raises:
        UserError: a vote is on a pair that the facts of the study do not know.
    """
    votes = [vote for vote in study.votes() if vote.role == "vote" and vote.annotator not in without]
    for about in {(vote.condition, vote.against, vote.length) for vote in votes}:
        study.facts.check_about(*about)
    return votes


def outcomes_of(study: Study) -> np.ndarray:
    """(conditions, annotators, contexts) outcomes of the votes at the longest length, NaN where an annotator has not voted.

    Raises:
        UserError: there are no votes.
    """
    votes = [vote for vote in table_votes(study) if vote.length == max(study.facts["lengths"])]
    if not votes:
        raise UserError(NO_VOTES.format(study.folder))
    names = study.facts["conditions"]
    people = {one: row for row, one in enumerate(sorted({vote.annotator for vote in votes}))}
    contexts = {one: column for column, one in enumerate(sorted({vote.context_id for vote in votes}))}
    found = np.full((len(names), len(people), len(contexts)), np.nan)
    for vote in votes:
        found[names.index(vote.condition), people[vote.annotator], contexts[vote.context_id]] = vote.outcome
    return found[~np.isnan(found).all(axis=(1, 2))]


def vote_scores(facts: dict, votes: Sequence[Vote], condition: str, texts: Condition) -> dict[str, Score]:
    """metric -> score of one condition, in percent of the votes; values are (annotators, texts).

    Args:
        facts: of the study.
        votes: all that count; their annotators are the rows, of every condition alike.
        condition: its name in the study; texts: the texts that the scores are of, and their order.
    """
    people = {one: row for row, one in enumerate(sorted({vote.annotator for vote in votes}))}
    places = {name: column for column, name in enumerate(texts.first.ids)}
    found = {}
    for length in facts["lengths"]:
        outcomes = np.full((len(people), len(places)), np.nan)
        for vote in votes:
            if vote.condition == condition and vote.length == length and vote.context_id in places:
                outcomes[people[vote.annotator], places[vote.context_id]] = vote.outcome
        for name, (_, counted) in OUTCOMES.items():
            metric = vote_metric(f"{name}_{length}", facts["against"], facts["unit"], facts["cut"].get("alike"))
            shares = np.where(np.isnan(outcomes), np.nan, 100.0 * np.isin(outcomes, counted))
            found[metric.name] = summarize(metric, shares, contexts=texts.contexts)
    return found


def check_shown(study: Study, votes: Sequence[Vote], conditions: Sequence[Condition]) -> None:
    """Raise UserError where people voted on other texts than those that the votes are to stand beside."""
    there: dict[tuple, list[tuple[str, str]]] = {}  # (condition, its text or the true one, context) -> what it holds
    for condition in conditions:
        for text in (text for texts in condition.sets for text in texts.texts):
            for side, known in (("text", text.text), (ORIGINAL, text.reference)):
                if known is not None:
                    there.setdefault((condition.name, side, text.id), []).append((text.context, known))
    pairs, wrong = study.pairs(), {}
    for pair in (pairs[index] for index in sorted({vote.pair for vote in votes})):
        against = (pair.condition, ORIGINAL) if pair.against == ORIGINAL else (pair.against, "text")
        for side, shown in (((pair.condition, "text"), pair.text), (against, pair.other)):
            held = there.get((*side, pair.context_id))
            if held is not None and not any(
                letters(context) == letters(pair.context) and begins_as(text, shown) for context, text in held
            ):
                wrong.setdefault(side[0], []).append(pair.context_id)
    if wrong:
        name, ids = next(iter(wrong.items()))
        raise UserError(
            f"--preference {study.folder}: people saw other texts than {name!r} holds here, of {len(set(ids))} contexts such as "
            f"{ids[0]!r}: score the records that the study was built from"
        )


def study_conditions(study: Study) -> list[Condition]:
    """The conditions of a study as sets of the texts that were shown, of several lengths the longest, and its opponent."""
    facts, of = study.facts, {}
    for pair in study.pairs():
        if pair.length == max(facts["lengths"]) and pair.condition in facts["conditions"]:
            of.setdefault(pair.condition, []).append(_text(pair, pair.text))
            if pair.condition == facts["conditions"][0]:
                of.setdefault(pair.against, []).append(_text(pair, pair.other))
    ordered = [*facts["conditions"], facts["against"]]
    return [
        Condition(name, (GenerationSet(name, tuple(of[name]), facts["policies"].get(name, "")),), name == ORIGINAL)
        for name in ordered
    ]


def vote_results(study: Study, votes: Sequence[Vote], baseline: str | None = None) -> Results:
    """Win, tie and loss of every condition, by corpus too, and their paired differences from the first one or `baseline`."""
    facts, conditions = study.facts, study_conditions(study)
    scored: Scored = {c.name: vote_scores(facts, votes, c.name, c) for c in conditions[:-1]} | {facts["against"]: {}}
    columns = sorted(scored[conditions[0].name], key=lambda name: scored[conditions[0].name][name].metric.column)
    voted = conditions[:-1]
    base = baseline or facts["conditions"][0]
    return Results(
        conditions=conditions,
        scored=scored,
        by_source={c.name: by_source(c, scored[c.name]) for c in voted if len(c.first.sources) > 1},
        differences=compare(scored, voted, base, [m for m in columns if vote_metric(m).paired])
        if len(voted) > 1
        else [],
        columns=columns,
        notes=[],
        curves={condition.name: {} for condition in conditions},
    )


def _text(pair: Pair, text: str) -> GeneratedText:
    return GeneratedText(id=pair.context_id, source=pair.source, context=pair.context, text=text)

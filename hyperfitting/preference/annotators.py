"""How each annotator votes: consistency on hidden repeats, failed checks, sides, ties, pace; and who fails the rule of the study."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .study import UNKNOWN, Annotator, Study, Vote

PAUSE = 600  # seconds between two votes beyond which somebody was away


@dataclass(frozen=True)
class Conduct:
    """What the votes of one annotator say of themselves.

    Attributes:
        asked, given: votes, of all roles.
        same, repeats: hidden repeats that were answered as the first time (sides swapped back), of those that were answered twice.
        failed, checks: check items on which the intact text was not preferred, of those that were answered.
        left, right, ties: votes on A, on B and on neither, of all roles but checks.
        seconds: median time on a page with focus; None where no vote has one.
        left_out: whether the rule leaves this annotator out of the table's second part.
    """

    annotator: Annotator
    asked: int
    given: int
    same: int
    repeats: int
    failed: int
    checks: int
    left: int
    right: int
    ties: int
    seconds: float | None
    left_out: bool


def conducts(study: Study) -> list[Conduct]:
    """Of every person of a study, in the order of their numbers."""
    votes: dict[int, list[Vote]] = {}
    for vote in study.votes():
        votes.setdefault(vote.annotator, []).append(vote)
    most_failed = study.facts["rule"]["most_failed"]
    return [
        _conduct(one, study.progress(one)[1], votes.get(one.annotator, []), most_failed) for one in study.annotators()
    ]


def without_consent(study: Study) -> list[Annotator]:
    """Who has voted, in files, without a word on whether he or she agreed to take part."""
    return [one for one in study.annotators() if one.consented is None and study.progress(one)[0]]


def pace(votes: Sequence[Vote]) -> float | None:
    """Median seconds from one vote of an annotator to the next, breaks left out; None where of nobody two times are known."""
    latest, gaps = {}, []
    for vote in sorted((vote for vote in votes if vote.received != UNKNOWN), key=lambda vote: vote.received):
        if vote.annotator in latest and 0 < (gap := vote.received - latest[vote.annotator]) < PAUSE:
            gaps.append(gap)
        latest[vote.annotator] = vote.received
    return statistics.median(gaps) if gaps else None


def _conduct(annotator: Annotator, asked: int, votes: list[Vote], most_failed: float) -> Conduct:
    first = {vote.pair: vote.outcome for vote in votes if vote.role == "vote"}
    repeats = [vote for vote in votes if vote.role == "repeat" and vote.pair in first]
    checks = [vote for vote in votes if vote.role == "check"]
    failed = sum(vote.outcome > 0 for vote in checks)  # the condition of a check item is the shuffled text
    sides = [vote.side for vote in votes if vote.role != "check"]
    seconds = [vote.seconds for vote in votes if vote.seconds is not None]
    return Conduct(
        annotator=annotator,
        asked=asked,
        given=len(votes),
        same=sum(vote.outcome == first[vote.pair] for vote in repeats),
        repeats=len(repeats),
        failed=failed,
        checks=len(checks),
        left=sides.count("A"),
        right=sides.count("B"),
        ties=sides.count("tie"),
        seconds=statistics.median(seconds) if seconds else None,
        left_out=bool(checks) and failed / len(checks) > most_failed,
    )

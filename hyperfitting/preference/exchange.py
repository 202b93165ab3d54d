"""A study carried out elsewhere: its pairs as files for Label Studio or a spreadsheet, and votes that come back in files.

A file is for one annotator. What comes back names the annotator by a ticket and each pair by its opaque id, and enters as a vote on the
page does; its texts are not read again.
"""

import csv
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ..errors import UserError
from ..files import write_atomically
from .ballots import Ballot, ticket
from .page import PageOptions
from .returned import ID_MARK, read_returned
from .study import UNKNOWN, Annotator, Study

COLUMNS = ("ticket", "assignment", "context", "a", "b", "choice", "comment")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes what begins so
_CONFIG = """<View>
  <Header value="How the text begins"/>
  <Text name="context" value="$context" valueType="text"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; gap: 1rem">
    <View><Header value="A"/><Text name="a" value="$a" valueType="text"/></View>
    <View><Header value="B"/><Text name="b" value="$b" valueType="text"/></View>
  </View>
  <Header value="Which goes on better?"/>
  <Choices name="choice" toName="context" choice="single-radio" required="true" showInLine="true">
{choices}
  </Choices>{comment}
</View>
"""
_COMMENT = '\n  <TextArea name="comment" toName="context" placeholder="Comment (may be empty)" maxSubmissions="1"/>'
CONFIG = re.compile(  # of any options
    re.escape(_CONFIG)
    .replace(re.escape("{choices}"), r'(?:\s*<Choice value="[^"]*"/>)+')
    .replace(re.escape("{comment}"), f"(?:{re.escape(_COMMENT)})?")
)


@dataclass
class Import:
    """How many votes of a file were stored, were there before, are others than those before (the first stays), or are still open."""

    stored: int = 0
    known: int = 0
    conflicts: int = 0
    unanswered: int = 0

    def __str__(self) -> str:
        return (
            f"{self.stored} votes stored, {self.known} were there already, {self.conflicts} differ from the vote that was there, "
            f"which stays, {self.unanswered} pairs without an answer"
        )


@dataclass
class _Read:
    """Of a file: votes with their annotators and when they were given, who has agreed, and how many pairs have no answer."""

    votes: list[tuple[Annotator, Ballot, float | None]] = field(default_factory=list)
    agreed: set[Annotator] = field(default_factory=set)
    unanswered: int = 0


# ------------------------------------------------------------------------------------------------------------------- out


def export_csv(study: Study, annotator: Annotator, stem: Path, options: PageOptions) -> list[Path]:
    """Write `stem`.csv: a pair a row, with `choice` to be filled in by one of the answers of `options`."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for item in study.items(annotator):
        shown = [f"'{part}" if part.startswith(_FORMULA) else part for part in (item.context, item.a, item.b)]
        rows.writerow([ID_MARK + ticket(annotator), ID_MARK + item.assignment, *shown, "", ""])
    path = stem.with_name(f"{stem.name}.csv")
    write_atomically(path, text.getvalue().encode("utf-8-sig"))  # by its mark a spreadsheet knows that it is UTF-8
    return [path]


def export_label_studio(study: Study, annotator: Annotator, stem: Path, options: PageOptions) -> list[Path]:
    """Write `stem`.json, tasks to import into a project of one person, and beside it the labeling config of all projects."""
    own = ticket(annotator)
    tasks = [
        {"data": {"ticket": own, "assignment": i.assignment, "context": i.context, "a": i.a, "b": i.b}}
        for i in study.items(annotator)
    ]
    path, config = stem.with_name(f"{stem.name}.json"), stem.with_name("label_studio.xml")
    write_atomically(path, json.dumps(tasks, indent=1) + "\n")
    choices = "\n".join(f"    <Choice value={quoteattr(answer.label)}/>" for answer in options.answers)
    write_atomically(config, _CONFIG.format(choices=choices, comment=_COMMENT if options.comments else ""))
    return [path, config]


# -------------------------------------------------------------------------------------------------------------------- in


def import_files(study: Study, files: list[Path], consent: str | None = None) -> dict[Path, Import]:
    """Store the votes of files that annotators handed back: all of them, or none.

    All files are read and checked before the first vote is stored. A vote that was there stays, and of several on one pair the first.

    Args:
        consent: how those who answered have agreed to take part, where their files do not say it.

    Raises:
        UserError: a file is damaged, or holds a vote that is none, of nobody here, or on a pair of somebody else; with its place.
    """
    people = {ticket(annotator): annotator for annotator in study.annotators()}
    own = {key: {item.assignment for item in study.items(one, open_only=False)} for key, one in people.items()}
    read = {path: _read(path, people, own) for path in files}
    with study.together():
        return {path: _store(study, found, consent) for path, found in read.items()}


def _store(study: Study, found: _Read, consent: str | None) -> Import:
    counts = Import(unanswered=found.unanswered)
    for annotator in {annotator for annotator, *_ in found.votes}:
        if annotator in found.agreed or consent is not None:
            study.consent(annotator, None if annotator in found.agreed else consent)
    for annotator, ballot, given in found.votes:
        before = study.choice(ballot.assignment)
        if ballot.cast(study, annotator, given or UNKNOWN):
            counts.stored += 1
        elif before == (ballot.choice, ballot.strength):
            counts.known += 1
        else:
            counts.conflicts += 1
    return counts


def _read(path: Path, people: dict, own: dict) -> _Read:
    """What a file holds, all checked; votes in the order in which they were given, as far as it says."""
    found, authors = _Read(), {}
    for vote in read_returned(path):
        annotator = people.get(vote.ticket) if isinstance(vote.ticket, str) else None
        if annotator is None:
            raise UserError(f"{path}, {vote.place}: the ticket is that of no annotator of this study")
        if vote.values.get("choice") is None:
            found.unanswered += 1
            continue
        try:
            ballot = Ballot.read(vote.values)
        except UserError as error:
            raise UserError(f"{path}, {vote.place}: {error}") from None
        if ballot.assignment not in own[vote.ticket]:
            raise UserError(f"{path}, {vote.place}: this pair was not assigned to this annotator")
        if vote.by is not None and (first := authors.setdefault(annotator, vote.by)) != vote.by:
            raise UserError(
                f"{path}, {vote.place}: the pairs of annotator {annotator.number} were answered by {first} and by {vote.by}: a file "
                "is for one person, so remove what the others answered"
            )
        found.agreed |= {annotator} if vote.agreed else set()
        found.votes.append((annotator, ballot, vote.given))
    found.votes.sort(key=lambda vote: vote[2] or 0.0)
    return found

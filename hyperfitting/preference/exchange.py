"""A study carried out elsewhere: its pairs as files for Label Studio or a spreadsheet, and votes that come back in files.

A file is for one annotator. What comes back names the annotator by a ticket and each pair by its opaque id, and enters as a vote on the
page does; its texts are not read again.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ..errors import UserError
from ..files import write_atomically
from .ballots import Ballot, ticket
from .page import FIVE, THREE, Answer, PageOptions
from .study import Annotator, Study

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
CONFIG_HEAD = _CONFIG.partition("{choices}")[0]
_COMMENT = '\n  <TextArea name="comment" toName="context" placeholder="Comment (may be empty)" maxSubmissions="1"/>'


@dataclass(frozen=True)
class Returned:
    """A vote in a file.

    Attributes:
        place: where, as a message names it.
        values: of `Ballot.read`; a choice that is None is a pair without an answer.
        agreed: whether the file says that its annotator has agreed to take part.
    """

    place: str
    ticket: object
    values: dict
    agreed: bool = False


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


# ------------------------------------------------------------------------------------------------------------------- out


def export_csv(study: Study, annotator: Annotator, stem: Path, options: PageOptions) -> list[Path]:
    """Write `stem`.csv: a pair a row, with `choice` to be filled in by one of the answers of `options`."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for item in study.items(annotator):
        shown = [f"'{part}" if part.startswith(_FORMULA) else part for part in (item.context, item.a, item.b)]
        rows.writerow([ticket(annotator), item.assignment, *shown, "", ""])
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


def import_files(study: Study, files: list[Path]) -> dict[Path, Import]:
    """Store the votes of files that annotators handed back: of the offline page, of Label Studio (its JSON), or CSV.

    All files are read and checked before the first vote is stored. A vote that was there stays.

    Raises:
        UserError: a file is damaged, or holds a vote that is none, of nobody here, or on a pair of somebody else; with its place.
    """
    people = {ticket(annotator): annotator for annotator in study.annotators()}
    own = {key: {item.assignment for item in study.items(one, open_only=False)} for key, one in people.items()}
    read = {path: _read(path, people, own) for path in files}
    done = {}
    for path, (found, agreed, unanswered) in read.items():
        counts = done[path] = Import(unanswered=unanswered)
        for annotator in agreed:
            study.consent(annotator)
        for annotator, ballot in found:
            before = study.choice(ballot.assignment)
            if ballot.cast(study, annotator):
                counts.stored += 1
            elif before == (ballot.choice, ballot.strength):
                counts.known += 1
            else:
                counts.conflicts += 1
    return done


def _read(path: Path, people: dict, own: dict) -> tuple[list[tuple[Annotator, Ballot]], set[Annotator], int]:
    """(votes with their annotators, those who have agreed, pairs without an answer) of a file, all checked."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    reader = _read_csv if path.suffix.lower() == ".csv" else _read_json
    found, agreed, unanswered = [], set(), 0
    for vote in reader(path, text):
        annotator = people.get(vote.ticket) if isinstance(vote.ticket, str) else None
        if annotator is None:
            raise UserError(f"{path}, {vote.place}: the ticket is that of no annotator of this study")
        if vote.values.get("choice") is None:
            unanswered += 1
            continue
        try:
            ballot = Ballot.read(vote.values)
        except UserError as error:
            raise UserError(f"{path}, {vote.place}: {error}") from None
        if ballot.assignment not in own[vote.ticket]:
            raise UserError(f"{path}, {vote.place}: this pair was not assigned to this annotator")
        agreed |= {annotator} if vote.agreed else set()
        found.append((annotator, ballot))
    return found, agreed, unanswered


def _read_csv(path: Path, text: str) -> Iterator[Returned]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    needed = {"ticket", "assignment", "choice"}
    try:
        if missing := needed - set(rows.fieldnames or ()):
            raise UserError(f"{path}, line 1: the columns {', '.join(sorted(missing))} are missing")
        for row in rows:
            place = f"line {rows.line_num}"
            if None in row or None in row.values():
                raise UserError(f"{path}, {place}: it has another number of columns than line 1")
            answer = _answer(path, place, row["choice"])
            values = {"assignment": row["assignment"], "comment": row.get("comment", ""), **answer}
            yield Returned(place, row["ticket"], values)
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num + 1}: {error}") from None


def _read_json(path: Path, text: str) -> Iterator[Returned]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno} is damaged: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if isinstance(found, dict) and isinstance(found.get("votes"), list):
        return _read_offline(path, text, found)
    if isinstance(found, list):
        return _read_label_studio(path, text, found)
    raise UserError(
        f"{path}, line 1: these are neither the votes of an offline page nor an export of Label Studio (JSON)"
    )


def _read_offline(path: Path, text: str, found: dict) -> Iterator[Returned]:
    agreed = type(found.get("consented")) in (int, float)
    if found["votes"] and not agreed:
        raise UserError(f"{path}, line 1: it does not say that its annotator has agreed to take part")
    for number, vote in enumerate(found["votes"], 1):
        values = vote if isinstance(vote, dict) else {}
        place = _place(text, values.get("assignment"), f"vote {number}")
        if "choice" not in values or values["choice"] is None:
            raise UserError(f"{path}, {place}: the vote holds no choice")
        yield Returned(place, found.get("ticket"), values, agreed)


def _read_label_studio(path: Path, text: str, found: list) -> Iterator[Returned]:
    for number, task in enumerate(found, 1):
        data = task.get("data") if isinstance(task, dict) else None
        annotations = task.get("annotations") if isinstance(task, dict) else None
        if not isinstance(data, dict) or not isinstance(annotations, list):
            raise UserError(
                f"{path}, task {number}: an export of Label Studio (JSON) holds data and annotations in each task"
            )
        place = _place(text, data.get("assignment"), f"task {number}")
        answers = [_annotation(path, place, one) for one in annotations]
        for values in [one for one in answers if one] or [{"choice": None}]:
            yield Returned(place, data.get("ticket"), {"assignment": data.get("assignment"), **values})


def _annotation(path: Path, place: str, annotation: object) -> dict | None:
    """Choice, strength and comment of an annotation; None where it was skipped."""
    if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
        raise UserError(f"{path}, {place}: an annotation holds no result")
    if annotation.get("was_cancelled"):
        return None
    values, comment = None, ""
    for part in annotation["result"]:
        kind = part.get("type") if isinstance(part, dict) else None
        value = part.get("value") if kind in ("choices", "pairwise", "textarea") else None
        match value:
            case {"choices": [str(label)]}:
                values = _answer(path, place, label)
            case {"selected": "left" | "right" as side}:  # of a config with Label Studio's Pairwise, which knows no tie
                values = {"choice": "A" if side == "left" else "B", "strength": None}
            case {"text": str(line)} | {"text": [str(line)]}:
                comment = line
            case _:
                raise UserError(f"{path}, {place}: an annotation holds what is neither a choice nor a comment")
    return values and {**values, "comment": comment}


def _answer(path: Path, place: str, label: str) -> dict:
    """The choice and strength of an answer by its words, or of the plain A, B and tie; None for no words."""
    known = {answer.label.casefold(): answer for answer in (*THREE, *FIVE, Answer("tie", None, "tie"))}
    if not (words := label.strip().casefold()):
        return {"choice": None}
    if words not in known:
        raise UserError(f"{path}, {place}: no answer is called {label[:40]!r} (there are {', '.join(known)})")
    return {"choice": known[words].choice, "strength": known[words].strength}


def _place(text: str, assignment: object, otherwise: str) -> str:
    """The line of a file that names an assignment first."""
    where = text.find(f'"{assignment}"') if isinstance(assignment, str) else -1
    return f"line {text.count(chr(10), 0, where) + 1}" if where >= 0 else otherwise

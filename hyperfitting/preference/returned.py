"""Votes in files that annotators hand back: of the offline page, of Label Studio (JSON, JSON-MIN, CSV, TSV), of a spreadsheet."""

import csv
import datetime
import io
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .page import FIVE, THREE, Answer

TABLES = (".csv", ".tsv", ".tab", ".txt")
ID_MARK = "id_"  # what ids begin with in a table: a spreadsheet computes "-3…" and rounds "12…"
LONGEST_READING = 3600  # seconds on one pair beyond which a page was left open
_ID = re.compile(r"[A-Za-z0-9_-]{32}")
_COMPUTED = re.compile(r"#.*|Err:\d+|[-+]?[\d.,]+(?:E[-+]?\d+)?", re.IGNORECASE)  # what a spreadsheet leaves of an id
_SAVE = "save it again in UTF-8, which a spreadsheet calls 'CSV UTF-8' or offers as the file's character set"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = (",", ";", "\t")
_EARLIEST = datetime.datetime.fromisoformat("2019-01-01T00:00:00+00:00")  # Label Studio's first year
_DAY = 86_400


@dataclass(frozen=True)
class Returned:
    """A vote in a file.

    Attributes:
        place: where, as a message names it.
        values: of `Ballot.read`; a choice that is None is a pair without an answer.
        agreed: whether the file says that its annotator has agreed to take part.
        given: when, in seconds since the epoch; None where the file does not say.
        by: whom the tool calls its author; None where it does not say.
    """

    place: str
    ticket: object
    values: dict
    agreed: bool = False
    given: float | None = None
    by: str | None = None


def read_returned(path: Path) -> Iterator[Returned]:
    """All votes of a file, in its order.

    Raises:
        UserError: it cannot be read, or is none of these files.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if content[:4] == b"PK\3\4":
        raise UserError(f"{path} is a workbook of a spreadsheet or an archive: save its sheet as CSV, or unpack it")
    if content[:2] in _UTF_16 or b"\0" in content[:4]:
        raise UserError(f"{path} is not in UTF-8 but in UTF-16, or is no text: {_SAVE}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not in UTF-8: {_SAVE}") from None
    return (_read_table if path.suffix.lower() in TABLES else _read_json)(path, text)


# ---------------------------------------------------------------------------------------------------------------- tables


def _read_table(path: Path, text: str) -> Iterator[Returned]:
    rows = _rows(text)
    try:
        if missing := {"ticket", "assignment", "choice"} - set(rows.fieldnames or ()):
            raise UserError(f"{path}, line 1: the columns {', '.join(sorted(missing))} are missing")
        for row in rows:
            place = f"line {rows.line_num}"
            beyond = any(row.pop(None, ()))
            if not beyond and not any(row.values()):
                continue  # a spreadsheet keeps rows that were emptied
            if beyond or None in row.values():
                raise UserError(f"{path}, {place}: it has another number of columns than line 1")
            yield _flat(path, place, row)
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num + 1}: {error}") from None


def _rows(text: str) -> csv.DictReader:
    """The rows of a table between commas, semicolons or tabs, whichever gives its first line most columns."""
    return max(
        (csv.DictReader(io.StringIO(text, newline=""), delimiter=mark) for mark in _DELIMITERS),
        key=lambda rows: len(rows.fieldnames or ()),
    )


def _flat(path: Path, place: str, row: Mapping[str, object]) -> Returned:
    """A vote from a row of a table or of JSON-MIN."""
    answer = _answer(path, place, row.get("choice") or "")
    ids = {name: _id(path, place, name, row.get(name)) for name in ("ticket", "assignment") if answer["choice"]}
    comment = row.get("comment") or ""
    return Returned(
        place,
        ids.get("ticket", _unmarked(row.get("ticket"))),
        {
            "assignment": ids.get("assignment"),
            "comment": "\n".join(comment) if _is_lines(comment) else comment,
            **answer,
            "seconds": _seconds(row.get("lead_time")),
        },
        given=_moment(row.get("created_at")),
        by=_author(row.get("annotator")),
    )


def _unmarked(cell: object) -> object:
    """An id without the mark of a table."""
    found = cell.strip() if isinstance(cell, str) else cell
    return found.removeprefix(ID_MARK) if isinstance(found, str) and not _ID.fullmatch(found) else found


def _id(path: Path, place: str, column: str, cell: object) -> object:
    found = _unmarked(cell)
    if isinstance(found, str) and _COMPUTED.fullmatch(found) and not _ID.fullmatch(found):
        raise UserError(
            f"{path}, {place}: the spreadsheet made {found[:40]!r} of the {column}, which looked like a formula or a number to it: copy "
            "the cell from the exported file as text, or fill in a new export"
        )
    return found


# ------------------------------------------------------------------------------------------------------------------ JSON


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
        f"{path}, line 1: these are neither the votes of an offline page nor an export of Label Studio (JSON or JSON-MIN)"
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
    """Its JSON, in which a task holds its annotations, and its JSON-MIN, in which each annotation stands for itself."""
    for number, task in enumerate(found, 1):
        if isinstance(task, dict) and {"ticket", "assignment"} <= task.keys():
            place = _place(text, task["assignment"], f"row {number}")
            if "choice" not in task:
                raise UserError(f"{path}, {place}: it holds no choice: export the project as JSON instead of JSON-MIN")
            yield _flat(path, place, task)
            continue
        data = task.get("data") if isinstance(task, dict) else None
        annotations = task.get("annotations") if isinstance(task, dict) else None
        if not isinstance(data, dict) or not isinstance(annotations, list):
            raise UserError(
                f"{path}, task {number}: an export of Label Studio (JSON) holds data and annotations in each task, and one of JSON-MIN "
                "ticket and assignment: export the project as JSON"
            )
        place = _place(text, data.get("assignment"), f"task {number}")
        of_task = (place, _unmarked(data.get("ticket")), _unmarked(data.get("assignment")))
        answers = [_annotation(path, *of_task, one) for one in annotations]
        yield from [one for one in answers if one] or [Returned(*of_task[:2], {"choice": None})]


def _annotation(path: Path, place: str, ticket: object, assignment: object, annotation: object) -> Returned | None:
    """The vote of an annotation; None where it was skipped."""
    if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
        raise UserError(f"{path}, {place}: an annotation holds no result")
    if annotation.get("was_cancelled"):
        return None
    values, comment = None, ""
    for part in annotation["result"]:
        kind = part.get("type") if isinstance(part, dict) else None
        value = part.get("value") if kind in ("choices", "pairwise", "textarea") else None
        match value:
            case {"choices": [str(label)]} if values is None:
                values = _answer(path, place, label)
            case {"selected": "left" | "right" as side}:  # of a config with Label Studio's Pairwise, which knows no tie
                left = "right" if part.get("to_name") == "b,a" else "left"  # where A stands
                values = {"choice": "A" if side == left else "B", "strength": None}
            case {"text": str(line)}:
                comment = line
            case {"text": list(lines)} if _is_lines(lines):
                comment = "\n".join(lines)
            case _:
                raise UserError(
                    f"{path}, {place}: an annotation holds a second choice, or what is neither a choice nor a comment"
                )
    if values is None:
        return None
    return Returned(
        place,
        ticket,
        {"assignment": assignment, "comment": comment, **values, "seconds": _seconds(annotation.get("lead_time"))},
        given=_moment(annotation.get("created_at")),
        by=_author(annotation.get("completed_by")),
    )


# ---------------------------------------------------------------------------------------------------------------- values


def _answer(path: Path, place: str, label: object) -> dict:
    """The choice and strength of an answer by its words, or of the plain A, B and tie; None for no words."""
    known = {answer.label.casefold(): answer for answer in (*THREE, *FIVE, Answer("tie", None, "tie"))}
    words = label.strip().casefold() if isinstance(label, str) else label
    if words == "":
        return {"choice": None}
    if not isinstance(words, str) or words not in known:
        raise UserError(f"{path}, {place}: no answer is called {str(label)[:40]!r} (there are {', '.join(known)})")
    return {"choice": known[words].choice, "strength": known[words].strength}


def _is_lines(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(line, str) for line in value)


def _seconds(value: object) -> float | None:
    """Seconds from opening a pair to its answer, as Label Studio's lead_time; None for what nobody reads in."""
    try:
        seconds = float(str(value).replace(",", "."))
    except ValueError:
        return None
    return seconds if 0 < seconds <= LONGEST_READING else None


def _moment(value: object) -> float | None:
    """When a vote was given, in seconds since the epoch, as Label Studio's created_at; without a zone it is UTC. None for what is no
    time, or one in the future or before there was Label Studio."""
    try:
        if isinstance(value, str):
            moment = datetime.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=_EARLIEST.tzinfo)).timestamp()
        else:
            seconds = float(value) if type(value) in (int, float) else 0.0
    except (ValueError, OverflowError):
        return None
    return seconds if _EARLIEST.timestamp() <= seconds <= time.time() + _DAY else None


def _author(value: object) -> str | None:
    """Who made an annotation: an id, or an object with e-mail address and id."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return None if value in (None, "") else str(value)


def _place(text: str, assignment: object, otherwise: str) -> str:
    """The line of a file that names an assignment first, where it has several lines."""
    where = text.find(f'"{assignment}"') if isinstance(assignment, str) and "\n" in text else -1
    return f"line {text.count(chr(10), 0, where) + 1}" if where >= 0 else otherwise

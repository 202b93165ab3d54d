"""A study on disk: a folder with the pairs, who is asked what, and the votes, in a SQLite database.

What is asked of whom is drawn once and stored before anything is shown (`Study.create`). Votes are appended and never changed: the
database itself refuses it. A vote that was acknowledged is on the disk.
"""

import contextlib
import hmac
import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .database import NAME, Database, create_database
from .facts import FORMAT, Facts

CHOICES = ("A", "B", "tie")
ROLES = (
    "vote",
    "repeat",
    "check",
)  # an item of the table; the same pair again with its sides swapped; a pair with a shuffled text
COMMENT_LENGTH = 2000  # characters that are kept of a comment
UNKNOWN = 0.0  # when a vote came that was read from a file which does not say
LONGEST = 10_000_000  # seconds of a vote; what says more was not measured

_ASSIGN = "INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?)"
# Whose link was shown. Studies of earlier versions have no such table.
_INVITED = "CREATE TABLE IF NOT EXISTS invited (annotator INTEGER PRIMARY KEY REFERENCES annotators)"
_FREE = """
SELECT annotator FROM (SELECT * FROM annotators WHERE kind = 'person' ORDER BY annotator DESC LIMIT ?)
WHERE external IS NULL AND consented IS NULL AND annotator NOT IN (SELECT annotator FROM invited)
AND annotator NOT IN (SELECT annotator FROM votes JOIN assignments USING (assignment)) ORDER BY annotator DESC
"""


@dataclass(frozen=True)
class Pair:
    """Two continuations of one context; `text` is the condition's, `other` what it is compared with.

    Attributes:
        condition, against: names; `against` is another condition or "original text".
        source: the corpus of the context.
        length: `--length` of the study, the most tokens or words (its facts say which) of context and continuation; both texts were
            then cut alike, as `cutting.py` says.
    """

    condition: str
    against: str
    source: str
    context_id: str
    length: int
    context: str
    text: str
    other: str


@dataclass(frozen=True)
class Assignment:
    """A pair as one annotator sees it.

    Attributes:
        pair: its index in the list of pairs.
        swapped: whether `other` is shown as A and `text` as B.
        role: one of ROLES; only `vote` counts in a table.
    """

    pair: int
    swapped: bool
    role: str


@dataclass(frozen=True)
class Annotator:
    """Who votes. `kind` is `person`, or `judge` for a language model; `external` is an id that a panel gave, such as PROLIFIC_PID.

    Attributes:
        annotator: in the database, from 0.
        consented: seconds since the epoch; None before.
    """

    annotator: int
    kind: str
    secret: str
    external: str | None
    consented: float | None

    @property
    def number(self) -> int:
        """What people call it, from 1: in links, files and tables alike."""
        return self.annotator + 1


@dataclass(frozen=True)
class Item:
    """What an annotator is shown now, and nothing that says more: an opaque id and three texts."""

    assignment: str
    place: int
    context: str
    a: str
    b: str


@dataclass(frozen=True)
class Vote:
    """A vote with what it was about.

    Attributes:
        outcome: 1.0 when the condition's text was preferred, 0.0 when the other was, 0.5 when they were equally good.
        side: A, B or tie, as it was clicked.
        strength: 2 for a clear preference and 1 for a slight one, where the study asks; None elsewhere.
        seconds: that the page was in focus, of Label Studio from opening the pair to its answer; None where nobody measured.
        received: when it was given, in seconds since the epoch; UNKNOWN where a file did not say.
    """

    annotator: int
    kind: str
    pair: int
    condition: str
    against: str
    source: str
    context_id: str
    length: int
    role: str
    swapped: bool
    side: str
    outcome: float
    strength: int | None
    comment: str
    seconds: float | None
    received: float


class Study:
    """A study that exists. Many processes may read and vote at once; each thread opens its own.

    Args:
        folder: of `Study.create`.
        patience: seconds that a write waits for another process's.

    Raises:
        UserError: it holds no study, a damaged one, or one that a later version made.
        Unavailable: of any method, what keeps SQLite from working now.
    """

    def __init__(self, folder: str | Path, patience: float = 30.0):
        self.folder = Path(folder)
        self.database = self.folder / NAME
        if not self.database.is_file():
            raise UserError(f"{self.folder} holds no study: make one with `hyperfitting preference build`")
        self._db = Database(self.database, patience)
        self.facts = Facts(self.database, self._db.rows("SELECT key, value FROM facts"))

    @classmethod
    def create(
        cls,
        folder: str | Path,
        pairs: Sequence[Pair],
        assignments: Sequence[Sequence[Assignment]],
        facts: dict,
    ) -> "Study":
        """Write a study whole or not at all: its pairs, one annotator with a secret for each list of assignments, and facts.

        Args:
            assignments: of each annotator, in the order in which they are shown.
            facts: what the study is; plain JSON values.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)

        def fill(db: sqlite3.Connection) -> None:
            values = {**facts, "format": FORMAT}
            db.executemany("INSERT INTO facts VALUES (?, ?)", [(k, json.dumps(v)) for k, v in values.items()])
            rows = [(i, p.condition, p.against, p.source, p.context_id, p.length, p.context, p.text, p.other)
                    for i, p in enumerate(pairs)]  # fmt: skip
            db.executemany("INSERT INTO pairs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            for number, own in enumerate(assignments):
                db.execute("INSERT INTO annotators VALUES (?, 'person', ?, NULL, NULL)", (number, _secret()))
                db.executemany(_ASSIGN, _drawn(number, own))

        create_database(folder, fill)
        return cls(folder)

    def close(self) -> None:
        self._db.close()

    def check_in_place(self) -> None:
        """Raise Displaced where the study's file is not the one that was opened."""
        self._db.check_in_place()

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Inside, all that is written is one transaction, synced once when it ends: nothing of it may be acknowledged before that,
        and where it fails nothing of it was stored."""
        return self._db.together()

    # ------------------------------------------------------------------------------------------------------ who is asked

    def annotators(self, kind: str = "person") -> list[Annotator]:
        """In the order in which they were drawn."""
        rows = self._db.rows("SELECT * FROM annotators WHERE kind = ? ORDER BY annotator", (kind,))
        return [Annotator(*row) for row in rows]

    def annotator(self, secret: str) -> Annotator | None:
        """Whose link holds this secret; None when it is nobody's. The time taken says nothing about how near it was."""
        found = None
        for row in self._db.rows("SELECT secret, annotator FROM annotators WHERE kind = 'person'"):
            if hmac.compare_digest(row[0].encode(), secret.encode()):
                found = row[1]
        row = self._db.row("SELECT * FROM annotators WHERE annotator = ?", (found,))
        return row and Annotator(*row)

    def invite(self, places: int) -> tuple[list[Annotator], int]:
        """(who gets a link, noted before it is shown; how many may still register): a place that may be registered is one of the last
        `places`, and nobody was shown its link, registered for it, agreed or voted there. All others but those who registered get
        a link.

        Raises:
            UserError: there are fewer places, or nobody could register, because the links of those places are with somebody.
        """
        with self._db.together():
            self._db.change(_INVITED)
            everyone = self.annotators()
            if places > len(everyone):
                raise UserError(f"--register {places} is more than the {len(everyone)} annotators that were drawn")
            free = {annotator for (annotator,) in self._db.rows(_FREE, (places,))}
            registered = sum(one.external is not None for one in everyone)
            if places and not free and not registered:
                raise UserError(
                    f"--register {places}: the links of the last places were shown by an earlier serve or are in use, and no place is "
                    "given to two people: serve without --register; or build the study again where nobody has a link yet, and give "
                    "--register from the first serve on"
                )
            invited = [one for one in everyone if one.external is None and one.annotator not in free]
            self._db.change_many("INSERT OR IGNORE INTO invited VALUES (?)", [(one.annotator,) for one in invited])
        return invited, min(len(free), max(0, places - registered))

    def claim(self, external: str, cap: int) -> Annotator | None:
        """The place of a person of a panel: the one taken before under this id, or the last one that is free among the last `cap`;
        None when there is none, or `cap` people have registered."""
        people = "FROM annotators WHERE kind = 'person'"
        with self._db.together():
            self._db.change(_INVITED)
            own = f"SELECT * {people} AND external = ?"
            if self._db.row(own, (external,)) is None:
                taken = self._db.row(f"SELECT COUNT(*) {people} AND external IS NOT NULL")[0]
                free = self._db.row(_FREE, (cap,))
                if taken >= cap or free is None:
                    return None
                self._db.change("UPDATE annotators SET external = ? WHERE annotator = ?", (external, free[0]))
            return Annotator(*self._db.row(own, (external,)))

    def consent(self, annotator: Annotator, statement: str | None = None) -> None:
        """Note that a person has read the instructions and agreed, the first time, and how where somebody else states it."""
        with self._db.together():
            if statement is not None and annotator.consented is None:
                row = self._db.row("SELECT value FROM facts WHERE key = 'consent'")
                stated = {**(json.loads(row[0]) if row else {}), str(annotator.annotator): statement}
                self._db.change("INSERT OR REPLACE INTO facts VALUES ('consent', ?)", (json.dumps(stated),))
            self._db.change(
                "UPDATE annotators SET consented = ? WHERE annotator = ? AND consented IS NULL",
                (time.time(), annotator.annotator),
            )

    def add_judge(self, name: str, assignments: Sequence[Assignment]) -> Annotator:
        """A language model that votes on its own list; the same name again is the same judge, with the list that it had."""
        with self._db.together():
            judge = "SELECT * FROM annotators WHERE kind = 'judge' AND external = ?"
            if self._db.row(judge, (name,)) is None:
                number = self._db.row("SELECT MAX(annotator) + 1 FROM annotators")[0]
                self._db.change("INSERT INTO annotators VALUES (?, 'judge', ?, ?, NULL)", (number, _secret(), name))
                self._db.change_many(_ASSIGN, _drawn(number, assignments))
            return Annotator(*self._db.row(judge, (name,)))

    # ----------------------------------------------------------------------------------------------------- what is asked

    def pairs(self) -> list[Pair]:
        """All pairs; an `Assignment` names one by its index."""
        rows = self._db.rows(
            "SELECT condition, against, source, context_id, length, context, text, other FROM pairs ORDER BY pair"
        )
        return [Pair(*row) for row in rows]

    def items(self, annotator: Annotator, open_only: bool = True) -> Iterator[Item]:
        """What an annotator is asked, in order; by default what has no vote yet."""
        query = (
            "SELECT a.assignment, a.place, p.context, p.text, p.other, a.swapped FROM assignments a JOIN pairs p USING (pair) "
            "LEFT JOIN votes v USING (assignment) WHERE a.annotator = ? AND (v.vote IS NULL OR NOT ?) ORDER BY a.place"
        )
        asked = self._db.rows(query, (annotator.annotator, open_only))
        for assignment, place, context, text, other, swapped in asked:
            a, b = (other, text) if swapped else (text, other)
            yield Item(assignment, place, context, a, b)

    def assignments(self, annotator: Annotator) -> list[Assignment]:
        """What was drawn for an annotator, in order."""
        rows = self._db.rows(
            "SELECT pair, swapped, role FROM assignments WHERE annotator = ? ORDER BY place", (annotator.annotator,)
        )
        return [Assignment(pair, bool(swapped), role) for pair, swapped, role in rows]

    def progress(self, annotator: Annotator) -> tuple[int, int]:
        """(votes given, votes asked)."""
        return self._db.row(
            "SELECT COUNT(v.vote), COUNT(*) FROM assignments LEFT JOIN votes v USING (assignment) WHERE annotator = ?",
            (annotator.annotator,),
        )

    # ------------------------------------------------------------------------------------------------------------- votes

    def vote(
        self,
        annotator: Annotator,
        assignment: str,
        choice: str,
        strength: int | None = None,
        comment: str = "",
        seconds: float | None = None,
        received: float | None = None,
    ) -> bool:
        """Store a vote; it is on the disk when this returns. A vote stays: the second one on an assignment changes nothing.

        Args:
            received: as in `Vote`; None: now.

        Returns:
            Whether it was stored now; False when there was one before.

        Raises:
            UserError: a choice that is none, a time that is none, or an assignment that is not this annotator's.
            Unavailable: the disk is full, another process kept the database locked, or the file is no longer where it was; the vote
                may be given again.
        """
        check_answer(choice, strength, seconds)
        owner = self._db.row("SELECT annotator FROM assignments WHERE assignment = ?", (assignment,))
        if owner is None or owner[0] != annotator.annotator:
            raise UserError("this pair was not assigned to this annotator")
        comment = comment.encode(
            errors="replace"
        ).decode()  # half a character, which JSON may hold and a database may not
        received = time.time() if received is None else received
        row = (assignment, choice, strength, comment[:COMMENT_LENGTH], seconds, received)
        with self._db.together():
            stored = self._db.change(
                "INSERT INTO votes (assignment, choice, strength, comment, seconds, received) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (assignment) DO NOTHING",
                row,
            )
        return stored == 1

    def choice(self, assignment: str) -> tuple[str, int | None] | None:
        """(choice, strength) of the vote on an assignment; None when there is none."""
        return self._db.row("SELECT choice, strength FROM votes WHERE assignment = ?", (assignment,))

    def votes(self, kind: str = "person") -> list[Vote]:
        """All votes of people, or of judges, in the order in which they came."""
        query = (
            "SELECT n.annotator, n.kind, a.pair, p.condition, p.against, p.source, p.context_id, p.length, a.role, a.swapped, "
            "v.choice, v.strength, v.comment, v.seconds, v.received FROM votes v JOIN assignments a USING (assignment) "
            "JOIN pairs p USING (pair) JOIN annotators n USING (annotator) WHERE n.kind = ? ORDER BY v.vote"
        )
        found = []
        for *who, swapped, side, strength, comment, seconds, received in self._db.rows(query, (kind,)):
            outcome = 0.5 if side == "tie" else float((side == "A") != bool(swapped))
            found.append(Vote(*who, bool(swapped), side, outcome, strength, comment, seconds, received))
        return found


def check_answer(choice: str, strength: int | None, seconds: float | None) -> None:
    """Raise UserError where an answer is none that a vote can hold."""
    if choice not in CHOICES or strength not in (None, 1, 2):
        raise UserError(f"a vote is one of {', '.join(CHOICES)}, with a strength of 1 or 2 or none")
    if seconds is not None and not 0 <= seconds <= LONGEST:
        raise UserError(f"the seconds of a vote are 0 to {LONGEST}, or none")


def _drawn(annotator: int, assignments: Sequence[Assignment]) -> list[tuple]:
    """Rows of a list of assignments."""
    return [(_secret(), annotator, a.pair, place, a.swapped, a.role) for place, a in enumerate(assignments)]


def _secret() -> str:
    """Of 192 bits, as a part of an address."""
    return secrets.token_urlsafe(24)

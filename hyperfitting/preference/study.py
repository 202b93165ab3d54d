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
from ..files import sync_folder

FORMAT = 1
CHOICES = ("A", "B", "tie")
ROLES = (
    "vote",
    "repeat",
    "check",
)  # an item of the table; the same pair again with its sides swapped; a pair with a shuffled text
COMMENT_LENGTH = 2000  # characters that are kept of a comment
UNKNOWN = 0.0  # when a vote came that was read from a file which does not say
LONGEST = 10_000_000  # seconds of a vote; what says more was not measured
_SCHEMA = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE pairs (
    pair INTEGER PRIMARY KEY,
    condition TEXT NOT NULL, against TEXT NOT NULL, source TEXT NOT NULL, context_id TEXT NOT NULL, length INTEGER NOT NULL,
    context TEXT NOT NULL, text TEXT NOT NULL, other TEXT NOT NULL
);
CREATE TABLE annotators (
    annotator INTEGER PRIMARY KEY, kind TEXT NOT NULL, secret TEXT NOT NULL UNIQUE,
    external TEXT, consented REAL, UNIQUE (kind, external)
);
CREATE TABLE assignments (
    assignment TEXT PRIMARY KEY,
    annotator INTEGER NOT NULL REFERENCES annotators, pair INTEGER NOT NULL REFERENCES pairs,
    place INTEGER NOT NULL, swapped INTEGER NOT NULL CHECK (swapped IN (0, 1)), role TEXT NOT NULL,
    UNIQUE (annotator, place)
);
CREATE TABLE votes (
    vote INTEGER PRIMARY KEY AUTOINCREMENT,
    assignment TEXT NOT NULL UNIQUE REFERENCES assignments,
    choice TEXT NOT NULL CHECK (choice IN ('A', 'B', 'tie')), strength INTEGER CHECK (strength IN (1, 2)),
    comment TEXT NOT NULL, seconds REAL, received REAL NOT NULL
);
CREATE TRIGGER votes_stay BEFORE UPDATE ON votes BEGIN SELECT RAISE(ABORT, 'votes are never changed'); END;
CREATE TRIGGER votes_are_kept BEFORE DELETE ON votes BEGIN SELECT RAISE(ABORT, 'votes are never deleted'); END;
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
        consented: seconds since the epoch; None before.
    """

    annotator: int
    kind: str
    secret: str
    external: str | None
    consented: float | None


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
        patience: seconds that a write waits for another process's; after them it raises sqlite3.OperationalError.

    Raises:
        UserError: it holds no study, or one that a later version made.
    """

    def __init__(self, folder: str | Path, patience: float = 30.0):
        self.folder = Path(folder)
        self.database = self.folder / "study.db"
        if not self.database.exists():
            raise UserError(f"{self.folder} holds no study: make one with `hyperfitting preference build`")
        try:
            self._db = _connect(self.database, patience)
            self.facts: dict = {key: json.loads(value) for key, value in self._db.execute("SELECT * FROM facts")}
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self.database} is damaged: {error}") from None
        if self.facts.get("format") != FORMAT:
            raise UserError(f"{self.database} has format {self.facts.get('format')}, and this version reads {FORMAT}")

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
        temporary = folder / "study.db.tmp"
        temporary.unlink(missing_ok=True)
        db = sqlite3.connect(temporary)
        db.executescript(_SCHEMA)
        with db:
            values = {**facts, "format": FORMAT}
            db.executemany("INSERT INTO facts VALUES (?, ?)", [(k, json.dumps(v)) for k, v in values.items()])
            rows = [(i, p.condition, p.against, p.source, p.context_id, p.length, p.context, p.text, p.other)
                    for i, p in enumerate(pairs)]  # fmt: skip
            db.executemany("INSERT INTO pairs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            for number, own in enumerate(assignments):
                db.execute("INSERT INTO annotators VALUES (?, 'person', ?, NULL, NULL)", (number, _secret()))
                _assign(db, number, own)
        db.close()
        temporary.chmod(0o600)  # it holds the secrets and says which text is whose
        temporary.replace(folder / "study.db")
        sync_folder(folder)
        return cls(folder)

    def close(self) -> None:
        self._db.close()

    # ------------------------------------------------------------------------------------------------------ who is asked

    def annotators(self, kind: str = "person") -> list[Annotator]:
        """In the order in which they were drawn."""
        rows = self._db.execute("SELECT * FROM annotators WHERE kind = ? ORDER BY annotator", (kind,))
        return [Annotator(*row) for row in rows]

    def annotator(self, secret: str) -> Annotator | None:
        """Whose link holds this secret; None when it is nobody's. The time taken says nothing about how near it was."""
        found = None
        for row in self._db.execute("SELECT secret, annotator FROM annotators WHERE kind = 'person'").fetchall():
            if hmac.compare_digest(row[0].encode(), secret.encode()):
                found = row[1]
        row = self._db.execute("SELECT * FROM annotators WHERE annotator = ?", (found,)).fetchone()
        return row and Annotator(*row)

    def claim(self, external: str, cap: int) -> Annotator | None:
        """The place of a person of a panel: the one taken before under this id, or the last free one; None when `cap` places are
        taken, or all. The last, because the links of the first ones may be on their way to somebody."""
        people = "FROM annotators WHERE kind = 'person'"
        with self._writing():
            rows = self._db.execute(f"SELECT * {people} AND external = ?", (external,)).fetchall()
            if not rows:
                taken = self._db.execute(f"SELECT COUNT(*) {people} AND external IS NOT NULL").fetchone()[0]
                free = self._db.execute(
                    f"SELECT annotator {people} AND external IS NULL AND consented IS NULL ORDER BY annotator DESC LIMIT 1"
                ).fetchone()
                if taken >= cap or free is None:
                    return None
                self._db.execute("UPDATE annotators SET external = ? WHERE annotator = ?", (external, free[0]))
                rows = self._db.execute("SELECT * FROM annotators WHERE annotator = ?", free).fetchall()
        return Annotator(*rows[0])

    def consent(self, annotator: Annotator, statement: str | None = None) -> None:
        """Note that a person has read the instructions and agreed, the first time, and how where somebody else states it."""
        with self._writing():
            if statement is not None and annotator.consented is None:
                row = self._db.execute("SELECT value FROM facts WHERE key = 'consent'").fetchone()
                stated = {**(json.loads(row[0]) if row else {}), str(annotator.annotator): statement}
                self._db.execute("INSERT OR REPLACE INTO facts VALUES ('consent', ?)", (json.dumps(stated),))
            self._db.execute(
                "UPDATE annotators SET consented = ? WHERE annotator = ? AND consented IS NULL",
                (time.time(), annotator.annotator),
            )

    def add_judge(self, name: str, assignments: Sequence[Assignment]) -> Annotator:
        """A language model that votes on its own list; the same name again is the same judge, with the list that it had."""
        with self._writing():
            found = self._db.execute(
                "SELECT * FROM annotators WHERE kind = 'judge' AND external = ?", (name,)
            ).fetchall()
            if not found:
                number = self._db.execute("SELECT MAX(annotator) + 1 FROM annotators").fetchone()[0]
                self._db.execute("INSERT INTO annotators VALUES (?, 'judge', ?, ?, NULL)", (number, _secret(), name))
                _assign(self._db, number, assignments)
                found = self._db.execute("SELECT * FROM annotators WHERE annotator = ?", (number,)).fetchall()
        return Annotator(*found[0])

    # ----------------------------------------------------------------------------------------------------- what is asked

    def pairs(self) -> list[Pair]:
        """All pairs; an `Assignment` names one by its index."""
        rows = self._db.execute(
            "SELECT condition, against, source, context_id, length, context, text, other FROM pairs ORDER BY pair"
        )
        return [Pair(*row) for row in rows]

    def items(self, annotator: Annotator, open_only: bool = True) -> Iterator[Item]:
        """What an annotator is asked, in order; by default what has no vote yet."""
        query = (
            "SELECT a.assignment, a.place, p.context, p.text, p.other, a.swapped FROM assignments a JOIN pairs p USING (pair) "
            "LEFT JOIN votes v USING (assignment) WHERE a.annotator = ? AND (v.vote IS NULL OR NOT ?) ORDER BY a.place"
        )
        for assignment, place, context, text, other, swapped in self._db.execute(
            query, (annotator.annotator, open_only)
        ):
            a, b = (other, text) if swapped else (text, other)
            yield Item(assignment, place, context, a, b)

    def assignments(self, annotator: Annotator) -> list[Assignment]:
        """What was drawn for an annotator, in order."""
        rows = self._db.execute(
            "SELECT pair, swapped, role FROM assignments WHERE annotator = ? ORDER BY place", (annotator.annotator,)
        )
        return [Assignment(pair, bool(swapped), role) for pair, swapped, role in rows]

    def progress(self, annotator: Annotator) -> tuple[int, int]:
        """(votes given, votes asked)."""
        return self._db.execute(
            "SELECT COUNT(v.vote), COUNT(*) FROM assignments LEFT JOIN votes v USING (assignment) WHERE annotator = ?",
            (annotator.annotator,),
        ).fetchone()

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
            sqlite3.OperationalError: the disk is full, or another process kept the database locked; the vote may be given again.
        """
        check_answer(choice, strength, seconds)
        owner = self._db.execute("SELECT annotator FROM assignments WHERE assignment = ?", (assignment,)).fetchone()
        if owner is None or owner[0] != annotator.annotator:
            raise UserError("this pair was not assigned to this annotator")
        comment = comment.encode(
            errors="replace"
        ).decode()  # half a character, which JSON may hold and a database may not
        received = time.time() if received is None else received
        row = (assignment, choice, strength, comment[:COMMENT_LENGTH], seconds, received)
        with self._writing():
            done = self._db.execute(
                "INSERT INTO votes (assignment, choice, strength, comment, seconds, received) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (assignment) DO NOTHING",
                row,
            )
        return done.rowcount == 1

    def choice(self, assignment: str) -> tuple[str, int | None] | None:
        """(choice, strength) of the vote on an assignment; None when there is none."""
        return self._db.execute("SELECT choice, strength FROM votes WHERE assignment = ?", (assignment,)).fetchone()

    def votes(self, kind: str = "person") -> list[Vote]:
        """All votes of people, or of judges, in the order in which they came."""
        query = (
            "SELECT n.annotator, n.kind, a.pair, p.condition, p.against, p.source, p.context_id, p.length, a.role, a.swapped, "
            "v.choice, v.strength, v.comment, v.seconds, v.received FROM votes v JOIN assignments a USING (assignment) "
            "JOIN pairs p USING (pair) JOIN annotators n USING (annotator) WHERE n.kind = ? ORDER BY v.vote"
        )
        found = []
        for *who, swapped, side, strength, comment, seconds, received in self._db.execute(query, (kind,)):
            outcome = 0.5 if side == "tie" else float((side == "A") != bool(swapped))
            found.append(Vote(*who, bool(swapped), side, outcome, strength, comment, seconds, received))
        return found

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Inside, all that is written is one transaction, synced once when it ends: nothing of it may be acknowledged before that,
        and where it fails nothing of it was stored."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        """One transaction that sees no other in between; that of `together` where it goes on."""
        return contextlib.nullcontext() if self._db.in_transaction else self.together()


def check_answer(choice: str, strength: int | None, seconds: float | None) -> None:
    """Raise UserError where an answer is none that a vote can hold."""
    if choice not in CHOICES or strength not in (None, 1, 2):
        raise UserError(f"a vote is one of {', '.join(CHOICES)}, with a strength of 1 or 2 or none")
    if seconds is not None and not 0 <= seconds <= LONGEST:
        raise UserError(f"the seconds of a vote are 0 to {LONGEST}, or none")


def _connect(database: Path, patience: float) -> sqlite3.Connection:
    """A connection without transactions of its own; `Study._writing` makes them."""
    db = sqlite3.connect(database, timeout=patience, isolation_level=None)
    # Readers and one writer at a time; a commit is synced, so that what was acknowledged survives a power cut.
    db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
    return db


def _assign(db: sqlite3.Connection, annotator: int, assignments: Sequence[Assignment]) -> None:
    rows = [(_secret(), annotator, a.pair, place, a.swapped, a.role) for place, a in enumerate(assignments)]
    db.executemany("INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?)", rows)


def _secret() -> str:
    """Of 192 bits, as a part of an address."""
    return secrets.token_urlsafe(24)

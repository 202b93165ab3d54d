"""The SQLite file of a study: its tables, what a person is told when SQLite fails, and whether the file is still where it was opened."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import UserError
from ..files import size_of, sync_folder

NAME = "study.db"
BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a file while it is open, or after a kill
_LITTLE = 1 << 20  # bytes; where fewer are free, SQLite's I/O error is a full disk
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


class Unavailable(UserError):
    """The file cannot be read or written as it is now: nothing of what was tried was stored, and it may be tried again."""


class Displaced(Unavailable):
    """The file that was opened is no longer the one at its path: what is written to it now may be seen by nobody."""


class Database:
    """An open file of a study; each thread opens its own.

    Args:
        path: of a file that is there.
        patience: seconds that a write waits for another process's.

    Raises:
        Unavailable: of any method, what keeps SQLite from working; also a damaged file, or one that holds no study.
    """

    def __init__(self, path: Path, patience: float):
        self.path, self._patience = path, patience
        with self._explained():
            self._db = self._connect()
            # A commit is synced, so that what was acknowledged survives a power cut.
            self._db.executescript("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            self._db.execute("SELECT * FROM facts").fetchall()  # before a database that is no study's is changed
            self._db.execute("PRAGMA journal_mode = WAL")  # readers and one writer at a time
            self._db.execute("SELECT * FROM facts").fetchall()  # from here on the files beside it are there
        self._opened, self._changed = self._look()
        self._counted = self._count(self._db)
        self._last = self._counted[0]

    def close(self) -> None:
        self._db.close()

    def rows(self, query: str, values: Sequence = ()) -> Iterator[tuple]:
        """What a query finds, read as it is asked for."""
        with self._explained():
            yield from self._db.execute(query, values)

    def row(self, query: str, values: Sequence = ()) -> tuple | None:
        """The first row that a query finds."""
        return next(self.rows(query, values), None)

    def change(self, query: str, values: Sequence = ()) -> int:
        """How many rows a statement changed."""
        with self._explained():
            return self._db.execute(query, values).rowcount

    def change_many(self, query: str, rows: Sequence[Sequence]) -> None:
        with self._explained():
            self._db.executemany(query, rows)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Inside, all that is written is one transaction, synced once when it ends: nothing of it may be acknowledged before that,
        and where it fails nothing of it was stored. Inside another one it is a part of that."""
        if self._db.in_transaction:
            yield
            return
        self.check_in_place()
        try:
            self.change("BEGIN IMMEDIATE")
            yield
            self.change("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self.check_in_place()
        self._last = self.row("SELECT MAX(vote) FROM votes")[0] or 0

    def check_in_place(self) -> None:
        """Raise Displaced where the file at the path, or one that SQLite keeps beside it, is not the one that was opened, or has the
        content of an earlier one."""
        files, changed = self._look()
        moved = any(opened not in (None, now) for opened, now in zip(self._opened, files, strict=True))
        # It changes when SQLite moves into it what was beside it, and when a backup is copied over it.
        if not moved and changed != self._changed:
            moved = not self._holds_all_votes()
            self._changed = self._changed if moved else changed
        if moved:
            raise Displaced(
                f"{self.path}, or {NAME}-wal or {NAME}-shm beside it, was removed, moved or replaced after it had been opened: nothing "
                "more is stored in it; put back what was there, or start again with what is there now"
            )

    def _look(self) -> tuple[list[tuple[int, int] | None], int | None]:
        """(which files are at the path and beside it, when the first of them changed)."""
        found = [_status(f"{self.path}{suffix}") for suffix in ("", "-wal", "-shm")]
        return [one and (one.st_dev, one.st_ino) for one in found], found[0] and found[0].st_mtime_ns

    def _holds_all_votes(self) -> bool:
        """Whether a new connection, which remembers no page, finds the votes that were there at the last change, and the last one."""
        with self._explained(), contextlib.closing(self._connect()) as db:
            last, count = self._counted
            if db.execute("SELECT COUNT(*) FROM votes WHERE vote <= ?", (last,)).fetchone()[0] < count:
                return False
            self._counted = self._count(db)
            return self._counted[0] >= self._last

    def _count(self, db: sqlite3.Connection) -> tuple[int, int]:
        """(last vote, number of votes)."""
        with self._explained():
            return db.execute("SELECT COALESCE(MAX(vote), 0), COUNT(*) FROM votes").fetchone()

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=self._patience, isolation_level=None)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        with explained(self.path, self._patience):
            yield


def create_database(folder: Path, fill) -> None:
    """Make a folder's file whole or not at all, for its owner's eyes alone; `fill` puts in what belongs there, with a
    sqlite3.Connection."""
    temporary = folder / f"{NAME}.tmp"
    try:
        _remove(temporary)  # of a call that was killed
        with explained(folder / NAME, 0), contextlib.closing(sqlite3.connect(temporary)) as db:
            db.executescript(_SCHEMA)
            with db:
                fill(db)
        temporary.chmod(0o600)  # it holds the secrets and says which text is whose
        temporary.replace(folder / NAME)
    except BaseException:
        _remove(temporary)
        raise
    sync_folder(folder)


@contextlib.contextmanager
def explained(path: Path, patience: float) -> Iterator[None]:
    """Inside, SQLite's complaints about a file, its disk or other processes become one message that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        told = _explanation(path, patience, error)
        if told is None:  # a mistake of ours, or a rule of the tables
            raise
        raise told from error


def _explanation(path: Path, patience: float, error: sqlite3.DatabaseError) -> Unavailable | None:
    """By SQLite's own words: its codes reach Python from 3.11 on."""
    said, whole = str(error), "what was stored before is whole"
    free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
    match said:
        case "database or disk is full":
            return _full(path, free)
        case "disk I/O error" if free < _LITTLE:
            return _full(path, free)
        case "disk I/O error":
            name = getattr(error, "sqlite_errorname", "no further name")
            return Unavailable(
                f"{path} cannot be read or written: disk I/O error ({name}; {size_of(free)} free): a quota or a limit on the size of "
                f"files, a file system without locks or shared memory, or a failing disk; {whole}"
            )
        case "database is locked" | "database table is locked" | "database schema is locked" | "locking protocol":
            return Unavailable(
                f"{path} is locked by another process, for more than {patience:.0f} s (or its file system has no locks): wait for that "
                f"process or stop it, then try again; {whole}"
            )
        case "attempt to write a readonly database":
            return Unavailable(
                f"{path} cannot be written: the file, its folder or its disk is read-only; make it writable, or work on a copy of the "
                f"folder; {whole}"
            )
        case "unable to open database file":
            return Unavailable(
                f"{path} cannot be opened: reading needs the right to read and write the file and its folder, where SQLite keeps "
                f"{NAME}-wal and {NAME}-shm; make them writable, or work on a copy of the folder"
            )
    if said == "file is not a database" or "malformed" in said or said.startswith("Could not decode to UTF-8"):
        return Unavailable(f"{path} is damaged: {said[:100]}; put back a copy of the folder")
    if said.startswith(("no such table", "no such column")):
        return Unavailable(f"{path} is a database that holds no study: {said}")
    return None


def _full(path: Path, free: int) -> Unavailable:
    return Unavailable(
        f"{path} cannot be read or written: the disk is full ({size_of(free)} free); make room, then try again; what was stored before "
        "is whole"
    )


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _remove(path: Path) -> None:
    for suffix in ("", *BESIDE):
        path.with_name(path.name + suffix).unlink(missing_ok=True)

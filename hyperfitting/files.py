"""Files that other processes, kills and later commands meet: locks, atomic writes, and JSON lines."""

import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import UserError


def lock_folder(folder: Path, flag: str):
    """The open lock file of an output folder, which is made; close it to release. The kernel releases it when its process
    dies, however it dies.

    Raises:
        UserError: the folder is not writable, or another process, perhaps a rank that outlived its launcher, writes to it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{flag} {folder} is not writable ({error.strerror}): set another --{flag}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "another process"
        file.close()
        raise UserError(
            f"{flag} {folder} is being written by {owner}: wait for it or stop it (ranks outlive a killed "
            f"`accelerate launch`), or set another --{flag}"
        ) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    return file


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a kill, sees the old text or the new one."""
    temporary = path.with_name(f"{path.name}.{platform.node()}-{os.getpid()}.tmp")  # an orphan may write the same file
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def replace_folder(temporary: Path, target: Path) -> None:
    """Put a finished folder in the place of `target`."""
    if target.exists():
        old = target.with_name(target.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(target, old)
        os.rename(temporary, target)
        shutil.rmtree(old)
    else:
        os.rename(temporary, target)


def to_jsonl(rows: Iterable[dict]) -> str:
    """One line a row, the same bytes for the same rows."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def append_jsonl(path: Path, row: dict) -> None:
    """Add a line to a file that a kill may cut short: read it with `cut_short`."""
    with open(path, "a", encoding="utf-8") as lines:
        lines.write(to_jsonl([row]))


def iterate_jsonl(path: Path, cut_short: bool = False) -> Iterator[tuple[int, dict]]:
    """(line number from 1, row) of each line that is not blank.

    Args:
        cut_short: the file was appended to by a process that may have been killed: a last line without an end is left out.

    Raises:
        UserError: the file does not exist or is not UTF-8, or a line holds no JSON object, with the line's number.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    with open(path, encoding="utf-8", newline="\n") as lines:  # text may hold other line ends
        try:
            for number, line in enumerate(lines, 1):
                if not line.strip() or (cut_short and not line.endswith("\n")):
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(f"{path}, line {number} is not JSON: {error}") from None
                if not isinstance(row, dict):
                    raise UserError(f"{path}, line {number} is no JSON object")
                yield number, row
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not valid UTF-8: {error}") from None


def read_jsonl(path: Path, cut_short: bool = False) -> list[dict]:
    """The rows of a .jsonl file; see `iterate_jsonl`."""
    return [row for _, row in iterate_jsonl(path, cut_short)]

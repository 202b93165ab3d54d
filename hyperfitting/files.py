"""Files that other processes, kills and later commands meet: locks, atomic writes, and JSON lines."""

import contextlib
import errno
import fcntl
import glob
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from .errors import TrainingError, UserError
from .removal import discard


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
    advice = f"wait for it or stop it (ranks outlive a killed `accelerate launch`), or set another --{flag}"
    return _lock(file, f"{flag} {folder} is being written", advice)


def lock_file(path: Path, held: str, advice: str):
    """An open lock file, which is made; as that of `lock_folder`.

    Raises:
        UserError: another process has it: `held` "by process …", and `advice`.
    """
    return _lock(open(path, "a+", encoding="utf-8"), held, advice)


def _lock(file, held: str, advice: str):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "another process"
        file.close()
        raise UserError(f"{held} by {owner}: {advice}") from None
    with named_in_errors(Path(file.name)):
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
    return file


@contextlib.contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Inside, an OSError says which file it is about; the operating system's says so only for what opens or renames one."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, and sync it."""
    with named_in_errors(path), open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, a kill or a power cut leaves the old content or the new one. A failed try leaves nothing,
    and what a killed one left goes with the next."""
    import psutil

    prefix = f"{path.name}.{platform.node()}-"  # and the process: an orphan may write the same file
    for remains in path.parent.glob(f"{glob.escape(prefix)}*.tmp"):
        process = remains.name.removeprefix(prefix).removesuffix(".tmp")
        if process.isdigit() and not psutil.pid_exists(int(process)):
            remains.unlink(missing_ok=True)
    temporary = path.with_name(f"{prefix}{os.getpid()}.tmp")
    try:
        write_file(temporary, content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def written_by_libraries(path: Path, needed: int) -> Iterator[None]:
    """Inside, what torch or safetensors raise when they cannot write becomes an OSError that names `path`; they hide the
    operating system's. `needed`: about how many bytes are written."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError | TrainingError):
            raise
        free = shutil.disk_usage(path.parent).free
        full = free < needed or getattr(error, "errno", None) == errno.ENOSPC
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        what = f"{reason}, with {size_of(free)} free and about {size_of(needed)} needed"
        raise OSError(errno.ENOSPC if full else errno.EIO, what, str(path)) from error


def size_of(count: float) -> str:
    """A number of bytes as a person reads it: 12 kB, 3.4 MB, 1.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def sync_folder(folder: Path) -> None:
    """Make what was renamed, made or removed in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with named_in_errors(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's content survive a power cut."""
    with named_in_errors(path), open(path, "rb") as file:
        os.fsync(file.fileno())


def replace_folder(temporary: Path, target: Path, own: Callable[[Path], Sequence[str]] = lambda folder: ()) -> None:
    """Put a finished folder in the place of `target`, all its files synced. A kill in between leaves the old one as
    `.old`, which `restore_folder` puts back.

    Args:
        own: a folder -> what may be deleted of it; see `removal.discard`.
    """
    for file in temporary.rglob("*"):
        if file.is_file():
            sync_file(file)
    old = _old(target)
    if os.path.lexists(target):
        discard(old, own(old), ignore_errors=True)
        os.rename(target, old)
    os.rename(temporary, target)
    sync_folder(target.parent)
    discard(old, own(old), ignore_errors=True)


def restore_folder(target: Path, own: Callable[[Path], Sequence[str]]) -> None:
    """Put back what a killed `replace_folder` had set aside, or remove it when its replacement stands."""
    old = _old(target)
    if target.exists():
        discard(old, own(old), ignore_errors=True)
    elif old.exists():
        os.rename(old, target)


def _old(target: Path) -> Path:
    return target.with_name(target.name + ".old")


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is what a git clone without Git LFS leaves in the place of a large one: a few lines that name it."""
    try:
        with open(path, "rb") as file:
            start = file.read(200)
    except OSError:
        return False
    return re.match(rb"version https://\S+/spec/v\d+\s", start) is not None and b"\noid sha256:" in start


def read_json(path: Path) -> dict:
    """The object in a JSON file.

    Raises:
        UserError: it does not exist, is damaged, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested without end
        raise UserError(f"{path} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    return found


def rewrite_json(path: Path, change: Callable[[dict], dict]) -> None:
    """Replace what a JSON file holds by `change` of it."""
    write_file(path, json.dumps(change(read_json(path)), indent=2, ensure_ascii=False) + "\n")


def to_jsonl(rows: Iterable[dict]) -> str:
    """One line a row, the same bytes for the same rows."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def append_jsonl(path: Path, row: dict) -> None:
    """Add a line to a file that a kill may cut short: read it with `cut_short`."""
    with named_in_errors(path), open(path, "a", encoding="utf-8") as lines:
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
                except (ValueError, RecursionError) as error:  # the latter: nested without end
                    raise UserError(f"{path}, line {number} is not JSON: {error}") from None
                if not isinstance(row, dict):
                    raise UserError(f"{path}, line {number} is no JSON object")
                yield number, row
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not valid UTF-8: {error}") from None


def read_jsonl(path: Path, cut_short: bool = False) -> list[dict]:
    """The rows of a .jsonl file; see `iterate_jsonl`."""
    return [row for _, row in iterate_jsonl(path, cut_short)]

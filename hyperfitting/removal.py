"""Removing what was written, and nothing else: a folder is deleted name by name, and what no command wrote stays."""

import contextlib
import errno
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

BELOW = "**"  # as the last part of a pattern: whatever lies below
MARK = "COMPLETED"  # of a checkpoint: its files, with their digests
LIST = ".written.json"  # of a model folder: its files


def listed_files(folder: Path) -> list[str] | None:
    """The files that a folder's own list names, and the list, as patterns of `foreign_entries`; None where there is no such list."""
    for name in (MARK, LIST):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            if isinstance(found, dict | list) and all(isinstance(file, str) for file in found):
                return [_literal(file) for file in (*found, name)]
    return None


def foreign_entries(folder: Path, own: Sequence[str]) -> Iterator[str]:
    """What lies in a folder, at any depth, and is not among `own`: files, links, and folders that may hold nothing of `own`.

    Args:
        own: names relative to the folder, each part a pattern of `fnmatch`; "name/" is a folder that may be empty. Links are never
            followed, and are own only below `**`.
    """
    patterns = [pattern.split("/") for pattern in own]
    for entry in _entries(folder):
        matching = [pattern[1:] for pattern in patterns if fnmatchcase(entry.name, pattern[0])]
        inside = ["/".join(rest) for rest in matching if rest]
        if BELOW in inside:
            continue
        if entry.is_symlink() or not (matching if entry.is_dir() else [] in matching):
            yield entry.name
        elif entry.is_dir():
            yield from (f"{entry.name}/{name}" for name in foreign_entries(Path(entry), inside))


def remove_own(folder: Path, own: Sequence[str]) -> list[str]:
    """Delete of a folder what `foreign_entries` does not name, and the folder itself if nothing is left; return what was left."""
    foreign = list(foreign_entries(folder, own))
    _delete(folder, set(foreign))
    return foreign


def discard(folder: Path, own: Sequence[str], ignore_errors: bool = False) -> None:
    """`remove_own`; a folder in which something is left is renamed to NAME.kept, and a warning says so. A folder that is itself a
    link is renamed as well: what it leads to is left alone."""
    with contextlib.suppress(OSError) if ignore_errors else contextlib.nullcontext():
        if folder.is_symlink():
            keep_aside(folder, "it is a link")
        elif folder.is_dir():
            foreign = remove_own(folder, own)
            if folder.exists():  # also when another process made a file meanwhile
                keep_aside(folder, f"{foreign[0]!r} in it was written by no run" if foreign else "it is not empty")


def keep_aside(path: Path, why: str) -> None:
    """Rename what is in the way and is not ours to NAME.kept, and warn."""
    names = (f"{path.name}.kept{number or ''}" for number in range(1_000_000))
    kept = next(free for free in map(path.with_name, names) if not os.path.lexists(free))
    os.rename(path, kept)
    warnings.warn(f"{path} is not deleted, because {why}: it is kept as {kept}", stacklevel=3)


def _literal(name: str) -> str:
    return name.translate({ord(sign): f"[{sign}]" for sign in "[*?"})


def _delete(folder: Path, foreign: set[str]) -> None:
    for entry in sorted(_entries(folder), key=lambda entry: entry.name in (MARK, LIST)):  # a kill leaves what they say
        if entry.name in foreign:
            continue
        if entry.is_dir(follow_symlinks=False):
            _delete(Path(entry), {_inside(name) for name in foreign if name.startswith(f"{entry.name}/")})
        else:
            os.unlink(entry)
    try:
        os.rmdir(folder)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def _inside(name: str) -> str:
    return name.partition("/")[2]


def _entries(folder: Path) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)

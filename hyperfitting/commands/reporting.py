"""Calls a command and turns its errors into one message and an exit code."""

import atexit
import contextlib
import errno
import gc
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import TrainingError, UserError, broken_torchvision
from ..files import size_of
from ..processes import is_main_process, local_rank, rank

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)

# Seconds. The first process that ends makes the launcher end the others, also one that was about to say what is wrong; a process that
# does not come to an end in that time may be the only one that met the error, and says it.
PATIENCE = 20


def run_reporting_errors(command: Callable, arguments: list[str] | None) -> int:
    """Call `command(arguments)`; print what the user can mend as one message and turn it into an exit code."""
    # Importing torch and transformers makes a million objects that stay; looking through them again and again for garbage
    # takes a fifth of every command's start.
    gc.set_threshold(50_000, 100)
    atexit.register(gc.freeze)  # or the end of the process would look through them twice more
    try:
        with _torchvision_named():
            command(arguments)
        return 0
    except (UserError, TrainingError, OSError) as error:
        if is_main_process():
            print(f"error: {_message(error)}", file=sys.stderr)
        else:
            if (
                local_rank() != 0
            ):  # those that are speak once for their machine; what is missing may be missing on one of them
                time.sleep(PATIENCE)
            print(f"error on rank {rank()}: {_message(error)}", file=sys.stderr)
        if os.environ.get("HYPERFITTING_DEBUG"):
            traceback.print_exc()
        return 2 if isinstance(error, UserError) else 1


@contextlib.contextmanager
def _torchvision_named() -> Iterator[None]:
    """Inside, what Python raises because torchvision cannot be imported says so, wherever a library imports it."""
    try:
        yield
    except (ImportError, RuntimeError) as error:
        if not isinstance(error, TrainingError) and (problem := broken_torchvision()):
            raise UserError(problem) from error
        raise


def _message(error: Exception) -> str:
    """An OSError says which file, why, and what is safe."""
    if not isinstance(error, OSError):
        return str(error)
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if error.errno in FULL and error.filename:
        folder = Path(error.filename).absolute().parent
        while not folder.exists():
            folder = folder.parent
        what += f" ({size_of(shutil.disk_usage(folder).free)} free in {folder})" if "free" not in what else ""
        what += "; what was finished before is whole: make room, then give the same command again (hyperfit: with --resume auto)"
    return what

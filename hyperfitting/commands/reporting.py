"""Calls a command and turns its errors into one message and an exit code."""

import gc
import os
import sys
import traceback
from collections.abc import Callable

from ..errors import TrainingError, UserError
from ..processes import is_main_process, local_rank, rank


def run_reporting_errors(command: Callable, arguments: list[str] | None) -> int:
    """Call `command(arguments)`; print what the user can mend as one message and turn it into an exit code."""
    # Importing torch and transformers makes a million objects that stay; looking through them again and again for garbage
    # takes a fifth of every command's start.
    gc.set_threshold(50_000, 100)
    try:
        command(arguments)
        return 0
    except (UserError, TrainingError) as error:
        if is_main_process():
            print(f"error: {error}", file=sys.stderr)
        elif local_rank() == 0:  # once on every other machine: what is missing may be missing there
            print(f"error on rank {rank()}: {error}", file=sys.stderr)
        if os.environ.get("HYPERFITTING_DEBUG"):
            traceback.print_exc()
        return 2 if isinstance(error, UserError) else 1

"""A run that is told to stop: SIGTERM and SIGINT become a flag that all ranks read at the same step."""

import contextlib
import signal
from collections.abc import Callable, Iterator


class Interrupted(Exception):
    """SIGTERM or SIGINT reached some rank; raised on all of them at the same point."""


@contextlib.contextmanager
def catch_signals(note: Callable[[], None]) -> Iterator[None]:
    """Inside, SIGTERM and SIGINT call `note` and nothing more; a second SIGINT ends the process."""

    def handle(number, frame):
        note()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        old = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not in the main thread, where Python allows no handler
        old = {}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

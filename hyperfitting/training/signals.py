"""A run that is told to stop: SIGTERM, SIGINT and the end of its launcher become a flag that all ranks read at one step."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from ..processes import find_launcher


class Interrupted(Exception):
    """A signal reached some rank, or its launcher is gone; raised on all of them at the same point."""


class LauncherWatch:
    """Notices that the `accelerate launch` which started this process has ended: with one process it dies of a SIGTERM and hands
    it on to nobody. The end of a shell, of nohup or of tmux is none of it."""

    def __init__(self):
        launcher = find_launcher()
        self.parent = launcher.pid if launcher and launcher.pid == os.getppid() else None

    def is_gone(self) -> bool:
        return self.parent is not None and os.getppid() != self.parent


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

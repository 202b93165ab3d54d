"""What the commands say: one console, how far the work is, and other libraries kept quiet."""

import contextlib
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


def quiet_libraries() -> None:
    """Keep other libraries' progress bars and start-up notes off the command line; errors still show. Call it before they
    are imported: it imports none of them, because that takes seconds and a command may not need it."""
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    for name in ("accelerate", "DeepSpeed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
    # transformers 5.24 renames it with 5.40, where our bound ends; older ones know the old name alone
    warnings.filterwarnings("ignore", "`past_key_values` is deprecated", FutureWarning)


def make_console(**options) -> Console:
    """A rich console; 120 columns wide where the output is not a terminal. What it prints is text: names and paths may hold
    what rich takes for markup or emoji."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120, **options)


def printable(text: str) -> str:
    """Text with its control characters shown (␛ for escape), which a terminal would obey."""
    shown = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
    return text.translate({**shown, 0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD)})


def duration(seconds: float) -> str:
    """A time as a person reads it: `7 s`, `12 min`, `3.4 h`, `9 days`."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:,.0f} days"


@dataclass
class Task:
    """One piece of work: `done` of `total` units, such as steps or batches. Without a total it only takes its time.

    Attributes:
        note: what else is known now, such as a loss.
        seconds_left: by an estimate of the work's own; None: at the speed so far.
        tokens: how many have gone through a model.
    """

    what: str
    total: int | None
    unit: str
    done: float
    clock: Callable[[], float]
    note: str = ""
    seconds_left: float | None = None
    tokens: int = 0

    def __post_init__(self):
        self.begun, self.first = self.clock(), self.done

    def update(self, done: float, note: str = "", seconds_left: float | None = None) -> None:
        self.done, self.note, self.seconds_left = done, note, seconds_left

    def advance(self, count: float = 1, tokens: int = 0) -> None:
        self.done += count
        self.tokens += tokens

    @property
    def elapsed(self) -> float:
        return self.clock() - self.begun

    def __str__(self) -> str:
        place = f"{self.unit} {int(self.done):,} of {self.total:,}" if self.total is not None else ""
        elapsed, left = self.elapsed, self.seconds_left
        if left is None and self.total is not None and self.done > self.first:
            left = elapsed / (self.done - self.first) * (self.total - self.done)
        when = f"{duration(elapsed)} so far" if left is None else f"{duration(left)} left"
        speed = f"{self.tokens / elapsed:,.0f} tokens/s" if self.tokens and elapsed else ""
        return "  ".join(part for part in (f"{self.what}:", place, self.note, speed, when) if part)


class Progress:
    """How far the work is, while it goes on: bars on a terminal, elsewhere (nohup, Slurm) a line now and then.

    The line is about the innermost task, and comes whether or not anything was finished since the last one.

    Args:
        console: where it is said; nowhere when it is quiet.
        first, interval: seconds before the first line and between two.
        clock: seconds of a monotonic clock.

    Example:
        >>> with Progress(console) as progress, progress.task("scoring", total=9, unit="text") as task:
        ...     task.advance()
    """

    def __init__(
        self,
        console: Console,
        first: float = 10.0,
        interval: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.console, self.first, self.interval, self.clock = console, first, interval, clock
        self.tasks: list[Task] = []

    @contextlib.contextmanager
    def task(self, what: str, total: int | None = None, unit: str = "", done: float = 0) -> Iterator[Task]:
        """Inside, a piece of work goes on. Tasks may be nested: the time of the inner one does not count for the outer."""
        task = Task(what, total, unit, done, self.clock)
        self.tasks.append(task)
        try:
            yield task
        finally:
            self.tasks.remove(task)
            for outer in self.tasks:
                outer.begun += task.elapsed

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self.live = Live(get_renderable=self._bars, console=self.console, transient=True)
            self.live.start()
        else:
            self.over = threading.Event()
            self.speaker = threading.Thread(target=self._speak, daemon=True)
            self.speaker.start()
        return self

    def __exit__(self, *exception) -> None:
        if self.console.is_terminal:
            self.live.stop()
        else:
            self.over.set()
            self.speaker.join()

    def _bars(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        for task in list(self.tasks):
            grid.add_row(ProgressBar(task.total, task.done, width=30), Text(str(task)))
        return grid

    def _speak(self) -> None:
        pause = self.first
        while not self.over.wait(pause):
            for task in self.tasks[-1:]:
                self.console.print(Text(str(task)))
            pause = self.interval

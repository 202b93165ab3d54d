"""One thread with the study, and what many requests ask of it: their writes are synced together."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ...errors import UserError
from ..database import Unavailable
from ..study import Study

PATIENCE = 5.0  # seconds that a request waits for a database that another process has locked
TOGETHER = 256  # writes in a transaction, at most
_Found = TypeVar("_Found")


@dataclass
class _Job:
    work: Callable[[Study], object]
    writes: bool
    future: Future = field(default_factory=Future)


class Desk:
    """Does what it is asked in turn. Writes that came while the last ones were synced are one transaction with one sync: a disk that
    syncs a hundred times a second then stores more than a hundred votes, and none is answered for before it is on the disk.

    Raises:
        UserError: of `Study`.
    """

    def __init__(self, folder: Path):
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        opened: Future = Future()
        self._thread = threading.Thread(target=self._run, args=(folder, opened), daemon=True)
        self._thread.start()
        opened.result()

    async def ask(self, work: Callable[[Study], _Found], writes: bool = False) -> _Found:
        """What `work` returns or raises, in the desk's thread; what it writes is on the disk by then."""
        job = _Job(work, writes)
        self._jobs.put(job)
        return await asyncio.wrap_future(job.future)

    def close(self) -> None:
        """Do what was asked before, and end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self, folder: Path, opened: Future) -> None:
        try:
            study = Study(folder, PATIENCE)
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        going = True
        while going:
            jobs = [self._jobs.get()]
            while len(jobs) < TOGETHER and not self._jobs.empty():
                jobs.append(self._jobs.get())
            going = None not in jobs
            jobs = [job for job in jobs if job is not None and job.future.set_running_or_notify_cancel()]
            for job in jobs:
                if not job.writes:
                    _settle(job, _attempt(job, study))
            _write(study, [job for job in jobs if job.writes])
        study.close()


def _write(study: Study, jobs: list[_Job]) -> None:
    """Jobs in one transaction: one that is refused leaves the others as they are, one that cannot be written is the end of all."""
    if not jobs:
        return
    try:
        with study.together():
            outcomes = [_attempt_one_of_many(job, study) for job in jobs]
    except Exception as error:
        outcomes = [error] * len(jobs)
    for job, outcome in zip(jobs, outcomes, strict=True):
        _settle(job, outcome)


def _attempt(job: _Job, study: Study) -> object:
    try:
        return job.work(study)
    except Exception as error:
        return error


def _attempt_one_of_many(job: _Job, study: Study) -> object:
    """What the job returns, or why it is refused."""
    try:
        return job.work(study)
    except Unavailable:
        raise
    except UserError as error:
        return error


def _settle(job: _Job, outcome: object) -> None:
    if isinstance(outcome, Exception):
        job.future.set_exception(outcome)
    else:
        job.future.set_result(outcome)

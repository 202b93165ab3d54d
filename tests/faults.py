"""Every call that changes the disk fails once, and the process is killed before and after it; then the command is given again.

    python tests/faults.py TINY_FOLDER WORK_FOLDER [COUNT]

For each scenario a first, undisturbed run says which calls there are: a site is an operation, the line of `hyperfitting/` that
asks for it, and for the helpers of files.py and removal.py the line that calls them. Its first and its last occurrence fail with each of
`FAULTS`. What libraries write in C++ or Rust fails from below, at a limit on the size of files. Processes are forked after the
imports, which take longer than all the rest. With COUNT only so many faults are tried, spread over all.
"""

import os

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

import builtins
import contextlib
import dataclasses
import errno
import gc
import importlib
import io
import json
import multiprocessing
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fault_scenarios import OUTPUT, Ended, Scenario, content, differences, finished, lost, make_scenarios

import hyperfitting

# What the commands import when they need it: a forked process has it already.
IMPORTED = (
    "accelerate.commands.launch",
    "datasets",
    "deepspeed",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "PIL.PngImagePlugin",
    "transformers.models.llama.modeling_llama",
    "hyperfitting.training.hyperfitter",
    "hyperfitting.generation.runner",
    "hyperfitting.report",
)
PACKAGE = str(Path(hyperfitting.__file__).parent) + os.sep
HELPERS = (PACKAGE + "files.py", PACKAGE + "removal.py")
FAULTS = ("ENOSPC", "EIO", "killed before", "killed after")
LIMIT = "largest file"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens at the n-th occurrence of a site; for LIMIT: how many bytes a file may have."""

    kind: str
    site: str
    occurrence: int


class Injected(OSError):
    """An error that the operating system did not raise."""


class Disk:
    """Stands between Python and the calls that change something in OUTPUT; counts them by site, and lets one of them fail.

    Args:
        at_fault: called right before the fault.
    """

    def __init__(self, fault: Fault | None = None, at_fault: Callable[[], None] = lambda: None):
        self.counts: Counter[str] = Counter()
        self.fault, self.at_fault = fault, at_fault
        self.folder = os.path.abspath(OUTPUT)

    def install(self) -> None:
        """Replace the functions of `os` and the built-in `open` for the rest of this process."""
        for name in ("replace", "rename", "fsync", "unlink", "remove", "rmdir", "mkdir"):
            setattr(os, name, self._watched(name, getattr(os, name)))
        plain = open

        def watched_open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *rest, **options):
            nameless = options.get("opener")  # such as tempfile's: nothing of it is ever left
            if nameless or not set(mode) & set("wax+") or isinstance(file, int) or not self._is_here(os.fspath(file)):
                return plain(file, mode, buffering, encoding, errors, newline, *rest, **options)
            raw = self.call("open", file, lambda: WatchedFile(self, file, mode.replace("b", "").replace("t", "")))
            buffer = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
            return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding or "utf-8", errors, newline)

        builtins.open = io.open = watched_open

    def call(self, operation: str, path, do: Callable):
        """`do()`, unless this occurrence is the one that fails."""
        site = _site(operation)
        if site is None or not self._is_here(path):
            return do()
        self.counts[site] += 1
        fault = self.fault
        if fault is None or (site, self.counts[site]) != (fault.site, fault.occurrence):
            return do()
        self.at_fault()
        if fault.kind == "killed before":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.kind == "killed after":
            with contextlib.suppress(OSError):  # such as a folder that is there
                do()
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, fault.kind)
        name = () if operation in ("write", "fsync", "truncate") else (str(path),)  # these know no names
        raise Injected(number, os.strerror(number), *name)

    def _watched(self, name: str, do: Callable) -> Callable:
        def call(path, *rest, **options):
            where = path
            if isinstance(path, int):
                where = os.readlink(f"/proc/self/fd/{path}")
            elif options.get("dir_fd") is not None:
                where = os.path.join(os.readlink(f"/proc/self/fd/{options['dir_fd']}"), path)
            return self.call(name, where, lambda: do(path, *rest, **options))

        return call

    def _is_here(self, path) -> bool:
        path = os.path.abspath(path)
        return path == self.folder or path.startswith(self.folder + os.sep)


class WatchedFile(io.FileIO):
    """A file whose writes reach the disk through `Disk.call`. One that fails writes half first, as the last room of a disk is used."""

    def __init__(self, disk: Disk, path, mode: str):
        super().__init__(path, mode)
        self.disk, self.failure = disk, None

    def write(self, block) -> int:
        plain, block = super().write, bytes(block)
        if self.failure:
            failure, self.failure = self.failure, None
            raise failure
        try:
            return self.disk.call("write", self.name, lambda: plain(block))
        except Injected as failure:
            self.failure = failure  # of the write that follows, which is about the rest
            return plain(block[: len(block) // 2])

    def truncate(self, size=None) -> int:
        plain = super().truncate
        return self.disk.call("truncate", self.name, lambda: plain(size))


def _site(operation: str) -> str | None:
    """The operation and the frames of the package that ask for it, up to the first outside the helpers; None outside of it."""
    frame, lines = sys._getframe(2), []
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE):
            lines.append(f"{code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno} {code.co_name}")
            if code.co_filename not in HELPERS:
                break
        frame = frame.f_back
    return f"{operation} in {' of '.join(lines)}" if lines else None


def call(command: Callable, words: list[str], folder: Path, fault: Fault | None = None) -> Ended:
    """Run a command in a process of its own in `folder`; without a fault its sites are counted in counts.json."""
    pipes = [os.pipe() for _ in range(2)]  # no files, which a limit would cut
    process = os.fork()
    if not process:
        code = 70
        try:
            os.chdir(folder)
            for number, (_, end) in enumerate(pipes, 1):
                os.dup2(end, number)
            for end in (end for pipe in pipes for end in pipe):
                os.close(end)
            random.seed(0)  # a fork draws a new one, and checkpoints keep the state
            if fault and fault.kind == LIMIT:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (fault.occurrence, fault.occurrence))
            disk = Disk(fault, lambda: _note("finished.json", finished()))
            disk.install()
            code = command(words)
            if not fault:
                _note("counts.json", disk.counts)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    for _, end in pipes:
        os.close(end)
    said, errors = (open(end, encoding="utf-8").read() for end, _ in pipes)
    _, status = os.waitpid(process, 0)
    return Ended(words, os.waitstatus_to_exitcode(status), said, errors)


def _note(name: str, facts) -> None:
    with open(name, "w") as file:
        json.dump(facts, file)


def lay_out(scenario: Scenario, folder: Path) -> tuple[list[Fault], dict[str, bytes]]:
    """Make what is there before a scenario under `folder`; returns its faults, and what its output should be after each."""
    before, tried = folder / "before", folder / "undisturbed"
    before.mkdir(parents=True)
    for command, words in scenario.before:
        _expect_success(call(command, words, before))
    shutil.copytree(before, tried)
    _expect_success(call(scenario.main, scenario.words, tried))
    counts = json.loads((tried / "counts.json").read_text())
    faults = [
        Fault(kind, site, occurrence)
        for site, count in sorted(counts.items())
        for occurrence in sorted({1, count})
        for kind in FAULTS
    ]
    sizes = {path.stat().st_size for path in (tried / OUTPUT).rglob("*") if path.is_file()}
    return faults + [Fault(LIMIT, "any file", size - 1) for size in sorted(sizes) if size > 1], content(tried / OUTPUT)


def _expect_success(ended: Ended) -> None:
    assert ended.code == 0, ended.said + ended.errors


def problems(scenario: Scenario, fault: Fault, before: Path, wanted: dict[str, bytes], folder: Path) -> list[str]:
    """What is wrong after a fault in a copy of `before`, and after the next tries of the command."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder)
    tries = [call(scenario.main, scenario.words, folder, fault)]
    found, (first,) = [], tries
    if fault.kind.startswith("killed"):
        if first.code != -signal.SIGKILL:
            found.append(f"it was not killed: {first}")
    elif first.code not in (0, 1, 2) or bool(first.code) != len(re.findall("^error: .*", first.errors, re.M)):
        found.append(f"it did not end in one message: {first}")
    elif first.code and not re.search(rf"^error: .*\b{OUTPUT}\b", first.errors, re.M):
        found.append(f"the message does not say where: {first.errors}")

    def run(words: list[str], code: int) -> None:
        tries.append(call(scenario.main, words, folder))
        if tries[-1].code != code:
            found.append(f"the next try, {' '.join(words[-2:])}, ended with {tries[-1].code}: {tries[-1].errors}")

    found += scenario.again(folder, before, run)
    at_fault = folder / "finished.json"
    if at_fault.exists():
        found += lost(folder, before, json.loads(at_fault.read_text()), tries[-1])
    elif fault.kind != LIMIT:
        found.append("the call was not reached")
    found += ["a traceback: " + ended.errors for ended in tries if "Traceback" in ended.errors]
    return found + differences(content(folder / OUTPUT), wanted)


def _try(case: tuple) -> tuple[str, Fault, list[str]]:
    name, scenario, fault, folder, wanted = case
    return name, fault, problems(scenario, fault, folder / "before", wanted, folder / str(os.getpid()))


def main(tiny: str, work: str, count: str = "0") -> int:
    """Try the faults, on two processes; returns the exit code, 1 when something was found."""
    begun, cases = time.monotonic(), []
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # a million objects that no forked process need look through
    scenarios = make_scenarios(Path(tiny))
    for name, scenario in scenarios.items():
        folder = Path(work) / name
        faults, wanted = lay_out(scenario, folder)
        print(f"{name}: {len(faults)} faults")
        cases += [(name, scenario, fault, folder, wanted) for fault in faults]
    if int(count):
        cases = cases[:: len(cases) // int(count)]
    failed = 0
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for name, fault, found in pool.imap_unordered(_try, cases):
            failed += bool(found)
            if found:
                print(f"{name}: {fault.kind}, occurrence {fault.occurrence} of {fault.site}:", *found, sep="\n    ")
    print(f"{len(cases)} faults in {time.monotonic() - begun:.0f} s: {len(cases) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

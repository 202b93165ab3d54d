"""Which process of which launch this is, known before any process group exists."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Launcher:
    """An `accelerate launch`: its process, its parsed arguments, and the folder and the environment that it was called in."""

    pid: int
    arguments: argparse.Namespace
    folder: Path
    environment: dict[str, str]


def find_launcher() -> Launcher | None:
    """The `accelerate launch` above this process; None when there is none, or it cannot be read."""
    import psutil
    from accelerate.commands.launch import launch_command_parser

    for ancestor in psutil.Process().parents():
        try:
            words = _launch_arguments(ancestor.cmdline())
            if words is not None:
                arguments = launch_command_parser().parse_args(words)
                return Launcher(ancestor.pid, arguments, Path(ancestor.cwd()), ancestor.environ())
        except psutil.Error:
            continue
    return None


def _launch_arguments(command: list[str]) -> list[str] | None:
    """The arguments of `accelerate launch`, in any of its spellings, or None for another command."""
    for index, word in enumerate(command):
        name = Path(word).name
        if name == "accelerate-launch" or word == "accelerate.commands.launch":
            return command[index + 1 :]
        if name == "accelerate" and command[index + 1 : index + 2] == ["launch"]:
            return command[index + 2 :]
    return None


def world_size() -> int:
    """Number of processes of this launch."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """This process's number on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", 0))


def is_main_process() -> bool:
    """Whether this process is the one that prints and writes."""
    return rank() == 0

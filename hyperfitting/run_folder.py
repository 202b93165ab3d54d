"""The folder of a run: who may write to it, what is in it, and what it was made with.

recipe.yaml         the resolved recipe
environment.json    versions, commit, hardware, accelerate config, number of processes
corpus/             the rows (see corpus.py)
metrics.jsonl       one line per step and per evaluation
probe/              greedy continuations, one file per evaluation
checkpoints/        step_000250/ …, for --resume
final/              the hyperfitted model, a transformers folder
early_stopped/      the weights of the best validation loss, when asked for
curves.png, result.json
"""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from .errors import UserError

PACKAGES = (
    "hyperfitting",
    "torch",
    "transformers",
    "accelerate",
    "deepspeed",
    "datasets",
    "tokenizers",
    "safetensors",
    "numpy",
)


class RunFolder:
    """Paths of a run. Only the main process writes, holding `lock_folder`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.corpus = self.path / "corpus"
        self.checkpoints = self.path / "checkpoints"
        self.metrics = self.path / "metrics.jsonl"
        self.probe = self.path / "probe"
        self.final = self.path / "final"
        self.early_stopped = self.path / "early_stopped"
        self.result = self.path / "result.json"

    def check_free(self, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that cannot be written or that holds something which neither flag allows to touch.

        Raises:
            UserError: saying which flag or folder to use.
        """
        if resume and overwrite:
            raise UserError("--resume continues a run and --overwrite deletes it: give one of them")
        existing = self.path
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(f"output_dir {self.path} is not writable: set --output_dir to a folder of your own")
        if not self._entries():
            return
        if not (self.path / "recipe.yaml").exists():
            raise UserError(f"output_dir {self.path} holds files that are not a run: set --output_dir to a new folder")
        if self.metrics.exists() and not (resume or overwrite):  # before its first number a run has nothing to lose
            raise UserError(
                f"output_dir {self.path} holds a run: continue it with --resume auto, replace it with --overwrite, "
                "or set another --output_dir"
            )

    def _entries(self) -> list[str]:
        return [entry.name for entry in self.path.iterdir() if entry.name != ".lock"] if self.path.is_dir() else []

    def clear(self) -> None:
        """Delete the run (only ever called under its lock, and on --overwrite)."""
        for entry in self._entries():
            path = self.path / entry
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def append_metrics(self, record: dict) -> None:
        with open(self.metrics, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")

    def rewind_metrics(self, step: int) -> None:
        """Drop the lines after `step`, which a resumed run writes again, and a last line that a kill cut short."""
        kept = [json.dumps(record) + "\n" for record in self.read_metrics() if record["step"] <= step]
        write_atomically(self.metrics, "".join(kept))

    def read_metrics(self) -> list[dict]:
        """All records of metrics.jsonl, in order; a half-written last line is left out."""
        records = []
        if self.metrics.exists():
            for line in self.metrics.read_text(encoding="utf-8").splitlines():
                try:
                    records.append(json.loads(line))
                except json.JSONDecodeError:
                    break
        return records


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
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "another process"
        file.close()
        raise UserError(
            f"{flag} {folder} is being written by {owner}: wait for it or stop it (ranks outlive a killed "
            f"`accelerate launch`), or set another --{flag}"
        ) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    return file


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a kill, sees the old text or the new one."""
    temporary = path.with_name(f"{path.name}.{platform.node()}-{os.getpid()}.tmp")  # an orphan may write the same file
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def replace_folder(temporary: Path, target: Path) -> None:
    """Put a finished folder in the place of `target`."""
    if target.exists():
        old = target.with_name(target.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(target, old)
        os.rename(temporary, target)
        shutil.rmtree(old)
    else:
        os.rename(temporary, target)


def describe_environment(accelerator, request) -> dict:
    """What a reader needs to repeat a run: versions, commit, hardware, launch."""
    import torch

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    git = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"],
        capture_output=True,
        text=True,
    )
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    plugin = accelerator.state.deepspeed_plugin
    return {
        "versions": versions,
        "python": platform.python_version(),
        "git_commit": git.stdout.strip() or None,
        "command": sys.argv,
        "hardware": {"gpus": gpus, "cpu": platform.processor() or platform.machine(), "cpu_count": os.cpu_count()},
        "threads_per_process": torch.get_num_threads(),
        "distributed_type": accelerator.distributed_type.value,
        "num_processes": accelerator.num_processes,
        "mixed_precision": accelerator.mixed_precision,
        "accelerate_config": request.config_file.read_text() if request and request.config_file else None,
        "deepspeed_config": plugin.deepspeed_config if plugin else None,
    }

"""Checkpoints that are whole or not there: written aside, marked COMPLETED, renamed, and only then are old ones deleted."""

import json
import os
import shutil
import warnings
from pathlib import Path

from ..errors import UserError
from .launching import strategy_of

MARK = "COMPLETED"


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies; names sort as their steps do."""
    return folder / f"step_{step:07d}"


def save_checkpoint(accelerator, folder: Path, step: int, progress: dict, keep: int) -> Path:
    """Save model, optimizer and `progress` of all ranks under `folder`; keep the newest `keep` checkpoints.

    Every rank must call it. The mark lists every file with its size, so that a truncated file is seen later.
    """
    target = checkpoint_path(folder, step)
    temporary = target.with_name(target.name + ".tmp")
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        facts = {"layout": _layout(accelerator), "progress": progress}
        (temporary / "progress.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
        files = {str(f.relative_to(temporary)): f.stat().st_size for f in sorted(temporary.rglob("*")) if f.is_file()}
        for name in files:
            _flush(temporary / name)
        (temporary / MARK).write_text(json.dumps(files, indent=2), encoding="utf-8")
        _flush(temporary / MARK)
        if target.exists():
            shutil.rmtree(target)
        os.rename(temporary, target)
        for old in _candidates(folder)[keep:]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()
    return target


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; damaged newer ones are passed over with a warning."""
    for unfinished in folder.glob("step_*.tmp"):
        warnings.warn(f"checkpoint {unfinished} was never finished and is passed over", stacklevel=2)
    for candidate in _candidates(folder):
        damage = find_damage(candidate)
        if damage is None:
            return candidate
        warnings.warn(f"checkpoint {candidate} is passed over: {damage}", stacklevel=2)
    return None


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None when every file has the size it was saved with."""
    try:
        files = json.loads((checkpoint / MARK).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return f"it has no {MARK} mark"
    for name, size in files.items():
        file = checkpoint / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes instead of {size}"
    return None


def load_checkpoint(accelerator, checkpoint: Path) -> dict:
    """Restore model and optimizer from a checkpoint on every rank and return its `progress`.

    Raises:
        UserError: a damaged checkpoint, or one whose shards belong to another strategy or number of processes.
    """
    damage = find_damage(checkpoint)
    if damage:
        raise UserError(f"checkpoint {checkpoint} cannot be used: {damage}; use --resume auto or another checkpoint")
    facts = json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))
    if facts["layout"] != _layout(accelerator):
        raise UserError(
            f"checkpoint {checkpoint} was saved with {facts['layout']}, this run is {_layout(accelerator)}: a run goes "
            "on in the layout it was saved in; launch the same way, or start anew from the weights in final/"
        )
    accelerator.load_state(str(checkpoint))
    accelerator.step = 0  # its count of passes: the step that follows may be cut into another number of them
    return facts["progress"]


def set_newer_aside(folder: Path, step: int) -> None:
    """Rename checkpoints after `step`, damaged or given up: a run that goes on from `step` must not take them for its own."""
    for path in _candidates(folder):
        if path > checkpoint_path(folder, step):
            target = path.with_name(f"aside_{path.name}")
            shutil.rmtree(target, ignore_errors=True)
            os.rename(path, target)


def _layout(accelerator) -> str:
    """What a run may not change when it goes on; whole weights load on any number of processes."""
    strategy, plugin = strategy_of(accelerator), accelerator.state.deepspeed_plugin
    if strategy in ("single", "ddp"):
        name = "unsharded weights"
    else:
        kind = f"DeepSpeed ZeRO-{plugin.zero_stage}" if plugin else "FSDP2"
        name = f"{kind} on {accelerator.num_processes} process(es)"
    return f"{name}, mixed precision {accelerator.mixed_precision}"


def _candidates(folder: Path) -> list[Path]:
    """Finished checkpoints, the newest first."""
    return sorted((path for path in folder.glob("step_*") if path.suffix != ".tmp"), reverse=True)


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())

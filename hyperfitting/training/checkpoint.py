"""Checkpoints that are whole or not there: written aside, digested, marked COMPLETED, renamed; only then are old ones deleted.

The mark holds the size and the digest of every file. Digests detect damage, not malice: see docs/trust.md.
"""

import json
import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xxhash

from ..errors import UserError
from ..files import read_json, sync_file, sync_folder, write_file, written_by_libraries
from ..removal import MARK, discard
from .launching import strategy_of
from .written import of_checkpoint

BLOCK = 2**24  # bytes that are digested at a time
BYTES_PER_PARAMETER = 12  # fp32 weight and two moments


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step_{step:07d}"


def save_checkpoint(accelerator, folder: Path, step: int, progress: dict, keep: int, parameters: int) -> Path:
    """Save model, optimizer and `progress` of all ranks under `folder`; keep the newest `keep` checkpoints.

    `parameters` is the model's number of them, to say how much room is needed. Every rank must call it, and digests and syncs its share of the files. A whole checkpoint of this step is left as it is.
    """
    from accelerate.utils import broadcast_object_list, gather_object

    target = checkpoint_path(folder, step)
    temporary = target.with_name(target.name + ".tmp")
    known = [find_damage(target, verify=False) is None if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(known)
    if known[0]:
        return target
    if accelerator.is_main_process:
        _discard(temporary)
        temporary.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.step = 0  # it counts the passes of this process, and a resumed run would save another number of them
    try:
        with written_by_libraries(temporary, BYTES_PER_PARAMETER * parameters):
            accelerator.save_state(str(temporary))
    except OSError:
        _discard(temporary)  # it may hold all the room that is left
        raise
    accelerator.wait_for_everyone()
    names = [None]
    if accelerator.is_main_process:
        facts = {"layout": _layout(accelerator), "progress": progress}
        write_file(temporary / "progress.json", json.dumps(facts, indent=2))
        names = [sorted(str(f.relative_to(temporary)) for f in temporary.rglob("*") if f.is_file())]
    if accelerator.num_processes > 1:
        broadcast_object_list(names)
    mine = names[0][accelerator.process_index :: accelerator.num_processes]
    digests = [(name, synced(temporary / name)) for name in mine]
    files = dict(sorted(gather_object(digests) if accelerator.num_processes > 1 else digests))
    if accelerator.is_main_process:
        write_file(temporary / MARK, json.dumps(files, indent=2))
        sync_folder(temporary)
        _put_in_place(temporary, target)
        keep_newest(folder, keep)
    accelerator.wait_for_everyone()
    return target


def newest_checkpoint(folder: Path, verify: bool = True) -> Path | None:
    """The newest whole checkpoint; damaged newer ones are passed over with a warning.

    Args:
        verify: compare the digest of every file, not its size alone.
    """
    for unfinished in folder.glob("step_*.tmp"):
        warnings.warn(f"checkpoint {unfinished} was never finished and is passed over", stacklevel=2)
    for candidate in _candidates(folder):
        damage = find_damage(candidate, verify)
        if damage is None:
            return candidate
        warnings.warn(f"checkpoint {candidate} is passed over: {damage}", stacklevel=2)
    return None


def checkpoint_to_resume(accelerator, folder: Path, resume: str | Path, verify: bool = True) -> Path | None:
    """What a run goes on from, chosen by the main process for all: the newest whole checkpoint for "auto" (None when there is
    none), or the one at a path.

    Raises:
        UserError: on every rank, when the one at a path is damaged.
    """
    from accelerate.utils import broadcast_object_list

    choice: list = [None, None]
    if accelerator.is_main_process:
        if str(resume) == "auto":
            choice[0] = newest_checkpoint(folder, verify)
        elif damage := find_damage(Path(resume), verify):
            choice[1] = f"checkpoint {resume} cannot be used: {damage}; use --resume auto or another checkpoint"
        else:
            choice[0] = Path(resume)
    if accelerator.num_processes > 1:
        broadcast_object_list(choice)
    if choice[1]:
        raise UserError(choice[1])
    return choice[0]


def adopt_finished(folder: Path) -> None:
    """Rename checkpoints that are whole but for their last rename, in which a kill or a power cut came; by the main process."""
    for temporary in folder.glob("step_*.tmp"):
        target = temporary.with_suffix("")
        if (
            find_damage(temporary) is None
            and _step(target) == read_json(temporary / "progress.json")["progress"]["step"]
        ):
            _put_in_place(temporary, target)


def find_damage(checkpoint: Path, verify: bool = True) -> str | None:
    """What is wrong with a checkpoint, or None when every file has the size, and with `verify` the digest, that it was saved
    with."""
    try:
        files = read_json(checkpoint / MARK)
    except UserError:
        return f"it has no {MARK} mark"
    undigested = False
    for name, wanted in files.items():
        file = checkpoint / name
        size, digest = (wanted, None) if isinstance(wanted, int) else wanted  # an older version noted sizes alone
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes instead of {size}"
        if verify and digest is not None and file_digest(file) != digest:
            return f"{name} was changed since it was saved"
        undigested |= digest is None
    try:
        facts = read_json(checkpoint / "progress.json")
        facts["layout"], facts["progress"]
    except (UserError, KeyError):
        return "progress.json is damaged"
    if verify and undigested:
        warnings.warn(
            f"checkpoint {checkpoint} is of an older version: only the sizes of its files are checked", stacklevel=3
        )
    return None


def load_checkpoint(accelerator, checkpoint: Path, trust: bool = False) -> dict:
    """Restore model and optimizer from a checkpoint, found whole by `find_damage`, on every rank, and return its `progress`.

    Args:
        trust: load shards of DeepSpeed, which are pickles and can run code, from a folder of another user.

    Raises:
        UserError: one that does not load, whose shards belong to another strategy or number of processes, or another user's.
    """
    facts = read_json(checkpoint / "progress.json")
    if facts["layout"] != _layout(accelerator):
        raise UserError(
            f"checkpoint {checkpoint} was saved with {facts['layout']}, this run is {_layout(accelerator)}: a run goes "
            "on in the layout it was saved in; launch the same way, or start anew from the weights in final/"
        )
    strangers = [path for path in (checkpoint, *checkpoint.rglob("*")) if path.stat().st_uid != os.getuid()]
    if strangers and strategy_of(accelerator) == "deepspeed" and not trust:
        raise UserError(
            f"{strangers[0]} belongs to another user, and DeepSpeed's shards can run code when they are loaded: give "
            "--trust_checkpoint if you know who wrote it"
        )
    try:
        accelerator.load_state(str(checkpoint))
    except Exception as error:  # whatever a reader of damaged tensors or pickles raises
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"checkpoint {checkpoint} cannot be loaded ({reason}): move it away, and --resume auto takes the one before it"
        ) from error
    accelerator.step = 0  # its count of passes: the step that follows may be cut into another number of them
    return facts["progress"]


def set_newer_aside(folder: Path, step: int) -> None:
    """Rename checkpoints after `step`, damaged or given up: a run that goes on from `step` must not take them for its own."""
    for path in _candidates(folder):
        if _step(path) > step:
            target = path.with_name(f"aside_{path.name}")
            _discard(target)
            os.rename(path, target)


def keep_newest(folder: Path, count: int) -> None:
    """Delete all checkpoints but the newest `count`."""
    for old in _candidates(folder)[count:]:
        discard(old, of_checkpoint(old))


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
    """Finished checkpoints, the newest first. Other folders, whatever they are, are no checkpoints of ours."""
    return sorted((path for path in folder.glob("step_*") if _step(path) is not None), key=_step, reverse=True)


def _step(checkpoint: Path) -> int | None:
    match = re.fullmatch(r"step_(\d{7,})", checkpoint.name)
    return int(match[1]) if match else None


def _put_in_place(temporary: Path, target: Path) -> None:
    """Rename a whole checkpoint; a damaged one of the same step is removed only after it stands."""
    damaged = target.with_name(f"{target.name}.old")  # and not aside_…, which set_newer_aside gives to what is kept
    if target.exists():
        _discard(damaged)
        os.rename(target, damaged)
    os.rename(temporary, target)
    sync_folder(target.parent)
    _discard(damaged)


def _discard(folder: Path) -> None:
    discard(folder, of_checkpoint(folder), ignore_errors=True)


def synced(file: Path) -> tuple[int, str]:
    """The size and the digest of a file, once it is on the disk; the digest is taken while the disk is waited for."""
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(file_digest, file)
        sync_file(file)
        return file.stat().st_size, digest.result()


def file_digest(file: Path) -> str:
    """xxh3 of a file's content, 128 bits in hex."""
    digest = xxhash.xxh3_128()
    with open(file, "rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()

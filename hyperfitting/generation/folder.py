"""A folder of generations: what was agreed on in its manifest, the batches that are whole, and all records.

manifest.json               what made the records: model, policies, contexts, seed, lengths, batch size
options.yaml                what the command was told the last time
batches/POLICY/00003.jsonl  the records of one finished batch, written in one rename
generations.jsonl           all records, policy by policy, in context order
log.jsonl                   what differs between runs: times, memory, split batches
"""

import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import UserError
from ..files import append_jsonl, read_jsonl, to_jsonl, write_atomically
from ..options import Options
from ..processes import is_main_process, rank
from ..records import read_manifest
from .contexts import Context
from .policies import Policy

CACHED = {"LlamaDecoder", "StaticDecoder", "AnyDecoder"}  # which of them serves a model is a matter of speed alone
LAST = {"PlacedDecoder", "FullForward"}  # go on with their own records alone: where they are needed, another was wrong
LONGEST_WAIT = 1800  # seconds, for the main process to hash the model and probe the batch size
OLD_FINGERPRINT = 16  # digits; it was taken of samples of the weights, and cannot be compared with one of all of them


class GenerationFolder:
    """Paths and contents of one; the main process holds its lock."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.manifest, self.records = self.path / "manifest.json", self.path / "generations.jsonl"

    def agree(self, wanted: dict, fingerprint: Callable[[], str], batch_size: Callable[[], int]) -> dict:
        """Write the manifest, or hold this run against the one that is there, and return it.

        Args:
            wanted: what must be the same in a run that goes on.
            fingerprint: the model's, asked of the main process alone.
            batch_size: the size of a new run's batches, asked of the main process alone.

        Raises:
            UserError: when the folder holds something else, or the manifest is damaged.
        """
        deadline = time.monotonic() + LONGEST_WAIT
        while not self.manifest.exists() and not is_main_process():
            if time.monotonic() > deadline:
                raise UserError(f"{self.manifest} was not written by the main process")
            time.sleep(0.1)
        if not self.manifest.exists():
            if not all(entry.name.startswith((".lock", self.manifest.name)) for entry in self.path.iterdir()):
                raise UserError(f"{self.path} holds files that are not generations: set --output_dir to a new folder")
            made = {**wanted, "model_fingerprint": fingerprint(), "batch_size": batch_size()}
            write_atomically(self.manifest, json.dumps(made, indent=2) + "\n")
            return made
        found = read_manifest(self.manifest)
        if missing := [key for key in ("model_fingerprint", "batch_size") if key not in found]:
            raise UserError(f"{self.manifest} is damaged: it has no {missing[0]}; set another --output_dir")
        if is_main_process() and len(found["model_fingerprint"]) == OLD_FINGERPRINT:
            warnings.warn(
                f"{self.manifest} was written by an older version: whether the model is still the same is not checked",
                stacklevel=2,
            )
        elif is_main_process():
            wanted = {**wanted, "model_fingerprint": fingerprint()}
        if wanted.get("citation_blocker") and _of_older_rows(found.get("citation_blocker")):
            wanted = {**wanted, "citation_blocker": found["citation_blocker"]}
            if is_main_process():
                warnings.warn(
                    f"{self.manifest} was written by an older version: whether --train_rows hold the same is not checked",
                    stacklevel=2,
                )
        changed = [
            f"{key} was {found.get(key)!r} and is now {value!r}"
            for key, value in wanted.items()
            if found.get(key) != value and not (key == "engine" and value in CACHED and found.get(key) in CACHED | LAST)
        ]
        if changed:
            raise UserError(f"{self.path} holds other generations ({'; '.join(changed)}): set another --output_dir")
        return found

    def keep_options(self, options: Options | None) -> None:
        """Write options.yaml. It is not held against later calls: the manifest says which of them may add to this folder."""
        if options is not None and is_main_process():
            options.save(self.path / "options.yaml")

    def batch_file(self, policy: Policy, index: int) -> Path:
        return self.path / "batches" / policy.folder_name / f"{index:05d}.jsonl"

    def write_batch(self, policy: Policy, index: int, records: list[dict]) -> None:
        file = self.batch_file(policy, index)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, to_jsonl(records))

    def read_batch(self, policy: Policy, index: int, batch: Sequence[Context], made_by: dict) -> list[dict] | None:
        """The records of a finished batch; None where there is none, or where the file holds anything but one record for
        each of its contexts, by this model under this policy."""
        try:
            records = read_jsonl(self.batch_file(policy, index))
        except UserError:
            return None
        wanted = [(c.id, list(c.ids), policy.signature, *made_by.values()) for c in batch]
        keys = ("id", "context_ids", "policy", *made_by)
        found = [record.get("continuation_ids") for record in records]
        whole = all(isinstance(ids, list) and all(type(i) is int for i in ids) for ids in found)
        return records if whole and [tuple(map(record.get, keys)) for record in records] == wanted else None

    def write_records(self, records: list[dict]) -> None:
        write_atomically(self.records, to_jsonl(records))

    def log(self, **facts) -> None:
        append_jsonl(self.path / "log.jsonl", {"rank": rank(), **facts})


def _of_older_rows(blocker) -> bool:
    """Whether what a manifest says of the citation blocker names the rows of a dataset by the path and time of its files."""
    return isinstance(blocker, dict) and "/" in str(blocker.get("rows_fingerprint"))

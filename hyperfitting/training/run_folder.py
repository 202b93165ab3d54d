"""The folder of a run: who may write to it, what is in it, and what it was made with.

recipe.yaml         the resolved recipe
environment.json    versions, commit, hardware, accelerate config, number of processes
corpus/             the rows (see corpus.py)
metrics.jsonl       one line per step and per evaluation
probe/              greedy continuations, one file per evaluation; of images a grid beside each
probe.png           of images: the first of them over the evaluations
checkpoints/        step_0000250/ …, for --resume
final/              the hyperfitted model, a transformers folder
early_stopped/      the weights of the best validation loss, when asked for
curves.png, result.json
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..corpus import corpus_files, corpus_folder
from ..errors import UserError
from ..files import append_jsonl, iterate_jsonl, lock_folder, read_jsonl, restore_folder, to_jsonl, write_atomically
from ..processes import is_main_process
from ..removal import discard, foreign_entries, keep_aside, remove_own
from . import written

MUST_HAVE = ("kind", "step", "epoch")  # every record of metrics.jsonl


def _holds(record: dict, key: str) -> bool:
    """Whether a record of metrics.jsonl has a value of the right type: numbers, and intervals of two of them."""
    value = record.get(key)
    if key == "kind":
        return isinstance(value, str)
    if key == "step":
        return type(value) is int
    if value is None:
        return key not in MUST_HAVE
    if key.endswith("_ci"):
        return isinstance(value, list) and len(value) == 2 and all(isinstance(end, int | float) for end in value)
    return isinstance(value, int | float)


def _variants(folder: Path) -> list[Path]:
    """A folder that is replaced whole, and what a kill on the way leaves beside it."""
    return [folder.with_name(folder.name + ending) for ending in ("", ".tmp", ".old")]


class RunFolder:
    """Paths of a run. Only the main process writes, inside `sole_writer`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.corpus = corpus_folder(self.path)
        self.checkpoints = self.path / "checkpoints"
        self.recipe = self.path / "recipe.yaml"
        self.environment = self.path / "environment.json"
        self.metrics = self.path / "metrics.jsonl"
        self.curves = self.path / "curves.png"
        self.probe, self.strip = self.path / "probe", self.path / "probe.png"
        self.final = self.path / "final"
        self.early_stopped = self.path / "early_stopped"
        self.result = self.path / "result.json"
        self.trackers = self.path / "trackers"
        self.replaced, self._moving = self.path / ".replaced", self.path / ".replaced.tmp"
        self._hidden = {".lock", self.replaced.name, self._moving.name}

    @contextlib.contextmanager
    def sole_writer(self, resume: bool, overwrite: bool) -> Iterator[None]:
        """Inside, the main process holds the folder's lock. A run that was set aside by `set_aside` comes back when what is
        inside fails before the new one has a whole checkpoint.

        Raises:
            UserError: the folder holds something else, or another process writes to it.
        """
        if not is_main_process():
            yield
            return
        if not (self.replaced.exists() or self._moving.exists()):  # or the folder is not yet what it will be
            self.check_free(resume, overwrite)
        with lock_folder(self.path, "output_dir"):
            self.settle()
            self.check_free(resume, overwrite)
            try:
                yield
            except BaseException:
                self._settle_replaced()
                raise

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
        entries = self._entries(self.path)
        if not entries:
            return
        begun = all(name.startswith(self.recipe.name) for name in entries)  # and killed while it wrote its first file
        if not self.recipe.exists() and not begun:
            what = f"a run without its {self.recipe.name}" if self._has_results() else "files that are not a run"
            raise UserError(f"output_dir {self.path} holds {what}: set --output_dir to a new folder")
        if foreign := self._in_the_way(overwrite):
            raise UserError(
                f"output_dir {self.path} holds {foreign[0]!r}, which no run wrote: move it away before "
                f"{'--overwrite' if overwrite else '--resume'}, or set another --output_dir"
            )
        if self._has_results() and not (resume or overwrite):
            raise UserError(
                f"output_dir {self.path} holds a run: continue it with --resume auto, replace it with --overwrite, "
                "or set another --output_dir"
            )

    def _has_results(self) -> bool:
        """Whether there is something to lose: a number, a checkpoint or a model."""
        steps = self.checkpoints.glob("*") if self.checkpoints.is_dir() else ()
        return self.metrics.exists() or self.final.exists() or any(map(written.is_checkpoint, steps))

    def _in_the_way(self, overwrite: bool) -> list[str]:
        """What no run wrote among that which is to be removed: all of the run, or the models that a run which goes on writes anew."""
        if overwrite:
            return [name for name in foreign_entries(self.path, self._own(self.path)) if name not in self._hidden]
        folders = [
            folder for model in (self.final, self.early_stopped) for folder in _variants(model) if folder.is_dir()
        ]
        return [f"{f.name}/{name}" for f in folders for name in foreign_entries(f, written.of_model(f))]

    def _entries(self, folder: Path) -> list[str]:
        return [entry.name for entry in folder.iterdir() if entry.name not in self._hidden] if folder.is_dir() else []

    def _own(self, folder: Path) -> list[str]:
        """What a run writes, at every depth, as patterns of names below `folder`: this run's, or that of the one set aside."""
        run = RunFolder(folder)
        files = (run.recipe, run.environment, run.metrics, run.curves, run.strip, run.result)
        own = [name for file in files for name in (file.name, f"{file.name}.*.tmp")]
        steps = [f"{run.probe.name}/step_{'[0-9]' * digits}" for digits in (7, 8)]
        own += [f"{step}.{ending}" for step in steps for ending in ("jsonl", "png", "*.tmp")]
        own += [f"{run.trackers.name}/{name}" for name in written.TRACKERS]
        folders = {path: corpus_files for path in _variants(run.corpus)}
        folders |= {path: written.of_model for whole in (run.final, run.early_stopped) for path in _variants(whole)}
        folders |= {path: written.of_checkpoint for path in run.checkpoints.glob("*") if written.is_checkpoint(path)}
        own += [f"{path.relative_to(folder)}/{name}" for path, of in folders.items() for name in of(path)]
        return own + [
            f"{path.relative_to(folder)}/" for path in (run.checkpoints, *folders)
        ]  # empty ones are own as well

    def set_aside(self) -> None:
        """Move the run into `.replaced`, from where `put_back` returns it until `forget_replaced`."""
        self._moving.mkdir()
        for name in self._entries(self.path):
            os.rename(self.path / name, self._moving / name)
        os.rename(self._moving, self.replaced)

    def put_back(self) -> None:
        """Delete what was begun in the place of the run that was set aside, and return that run."""
        remove_own(self.path, self._own(self.path))
        for name in {*self._entries(self.path)} & {*self._entries(self.replaced)}:
            keep_aside(self.path / name, "something in it was written by no run")
        os.rename(self.replaced, self._moving)
        self._move_back()

    def forget_replaced(self) -> None:
        """Delete the run that was set aside: what replaces it has a whole checkpoint."""
        discard(self.replaced, self._own(self.replaced))

    def settle(self) -> None:
        """Finish what a killed process had begun: give a whole checkpoint its name, and return what it had set aside, or forget
        that when what replaces it has a whole checkpoint."""
        from .checkpoint import adopt_finished  # torch, which readers of a run do not need

        adopt_finished(self.checkpoints)
        restore_folder(self.corpus, corpus_files)
        for folder in (self.final, self.early_stopped):
            restore_folder(folder, written.of_model)
        if self._moving.exists():  # it was killed between two moves: what is not in there belongs beside it
            self._move_back()
        self._settle_replaced()

    def _settle_replaced(self) -> None:
        """Of a run that was set aside and the one that replaces it, keep the one that is whole: the new one once it has a whole
        checkpoint, because from then on the old one may be half deleted."""
        from .checkpoint import newest_checkpoint

        if self.replaced.exists():
            begun = newest_checkpoint(self.checkpoints, verify=False)
            self.forget_replaced() if begun else self.put_back()

    def _move_back(self) -> None:
        for entry in list(self._moving.iterdir()):
            os.rename(entry, self.path / entry.name)
        self._moving.rmdir()

    def has_rows(self) -> bool:
        """Whether the rows were written to the end; an older version could be killed in between."""
        return (self.corpus / "corpus.json").exists()

    def append_metrics(self, record: dict) -> None:
        append_jsonl(self.metrics, record)

    def rewind_metrics(self, step: int, evaluated_step: int = -1) -> tuple[list[int], list[int]]:
        """Drop the lines after `step`, which a resumed run writes again, a last line that a kill cut short, and of doubled lines the
        first.

        Args:
            evaluated_step: that of the run's last evaluation up to `step`.

        Returns:
            Steps up to `step` whose line is not there: those of training, and of evaluations as far as it is known of them.
        """
        kept = {(record["kind"], record["step"]): record for record in self.read_metrics() if record["step"] <= step}
        write_atomically(self.metrics, to_jsonl(kept.values()))
        evaluated = {0, evaluated_step, *self.probe_steps()} if evaluated_step >= 0 else set()
        evaluations = [at for at in sorted(evaluated) if at <= evaluated_step and ("evaluation", at) not in kept]
        return [at for at in range(1, step + 1) if ("train", at) not in kept], evaluations

    def read_metrics(self) -> list[dict]:
        """All records of metrics.jsonl, in order; a half-written last line is left out.

        Raises:
            UserError: the file is damaged; with the line.
        """
        if not self.metrics.exists():
            return []
        advice = "remove the line, and --resume says what is missing and goes on"
        try:
            records = list(iterate_jsonl(self.metrics, cut_short=True))
        except UserError as error:
            raise UserError(f"{error}: {advice}") from None
        for number, record in records:
            if wrong := [key for key in {*MUST_HAVE, *record} if not _holds(record, key)]:
                what = f"{min(wrong)} is {record.get(min(wrong))!r}"
                raise UserError(f"{self.metrics}, line {number} is damaged: {what}: {advice}")
        return [record for _, record in records]

    def evaluations(self) -> list[dict]:
        """The evaluations among `read_metrics`, in order."""
        return [record for record in self.read_metrics() if record["kind"] == "evaluation"]

    def first_evaluation(self) -> dict:
        """The evaluation at step 0; without numbers where its line was lost."""
        return next((e for e in self.evaluations() if e["step"] == 0), {"step": 0, "epoch": 0.0})

    def write_probe(self, step: int, texts: list[dict]) -> None:
        """Keep the greedy continuations of an evaluation."""
        self.probe.mkdir(exist_ok=True)
        write_atomically(self._probe_file(step), to_jsonl(texts))

    def read_probe(self, step: int) -> list[dict]:
        """The greedy continuations of the evaluation at `step`; none when the probe was off."""
        file = self._probe_file(step)
        return read_jsonl(file) if file.exists() else []

    def probe_steps(self) -> list[int]:
        """The steps of the evaluations whose continuations were kept, in order."""
        return sorted(int(file.stem.removeprefix("step_")) for file in self.probe.glob("step_*.jsonl"))

    def write_grid(self, step: int, grid: bytes, strip: bytes) -> None:
        """Keep pictures of an evaluation: its continuations, and the first of them over all evaluations (PNG)."""
        write_atomically(self._probe_file(step).with_suffix(".png"), grid)
        write_atomically(self.strip, strip)

    def _probe_file(self, step: int) -> Path:
        return self.probe / f"step_{step:07d}.jsonl"

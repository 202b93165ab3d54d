"""The loop, from top to bottom: set up, then train, evaluate and save until done, then write the model and check it."""

import contextlib
import copy
import dataclasses
import gc
import json
import time
from pathlib import Path

import torch

from ..codec import as_codec, load_codec
from ..corpus import Corpus, build_corpus, check_made_with
from ..errors import TrainingError, UserError
from ..files import write_atomically
from ..generation.engines import ChosenOnce
from ..host_memory import kept_memory
from ..models import (
    DTYPES,
    ModelSize,
    check_causal,
    check_vocabulary,
    end_ids,
    load_config,
    quieten,
    source_dtype,
    window_of,
)
from ..processes import is_main_process
from . import launching, precision
from .checkpoint import (
    checkpoint_to_resume,
    keep_newest,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    set_newer_aside,
)
from .chunked_loss import choose_loss
from .console import RunConsole
from .curves import draw_curves
from .environment import describe_environment
from .evaluation import Evaluation, evaluate, probe_records
from .final_model import check_written_model, push_to_hub, write_model
from .model import leave_unused_out, load_model, make_optimizer
from .probe_pictures import draw_probe
from .progress import Progress
from .recipe import Recipe
from .result import HyperfitResult, read_result, write_result
from .run_folder import RunFolder
from .signals import Interrupted, LauncherWatch, catch_signals
from .steps import LateReader, epoch_order


class Hyperfitter:
    """Hyperfit a causal LM: all parameters, a tiny corpus, near-zero training loss.

    Args:
        model: Hub id, local folder, or a loaded transformers model in fp32. Default: the recipe's.
        tokenizer: Hub id, local folder, or a loaded tokenizer. Default: the model's.
        recipe: a `Recipe`, or the path of a recipe file; keyword arguments named as its fields go over it.
        corpus: rows made elsewhere, instead of the recipe's dataset.
        cpu: train on the CPU although there is a GPU (needed for every distributed run on CPUs).

    Raises:
        UserError: (a ValueError) when something asked for is impossible; the message says what to change.

    Example:
        >>> result = Hyperfitter("builtin/base_model", dataset="builtin/stories", output_dir="runs/one").fit()
    """

    def __init__(
        self, model=None, tokenizer=None, *, recipe=None, corpus: Corpus | None = None, cpu: bool = False, **overrides
    ):
        self._given_model = None if isinstance(model, str | Path | None) else model
        self._given_tokenizer = None if isinstance(tokenizer, str | Path | None) else tokenizer
        if isinstance(model, str | Path):
            overrides["model"] = str(model)
        elif model is not None:
            overrides["model"] = getattr(model.config, "_name_or_path", None) or type(model).__name__
        if isinstance(tokenizer, str | Path):
            overrides["tokenizer"] = str(tokenizer)
        if corpus is not None:
            overrides |= {"num_train": len(corpus.train), "num_validation": len(corpus.validation)}
            overrides |= {"seq_len": corpus.train.shape[1]}
        values = recipe.to_dict() if isinstance(recipe, Recipe) else {}
        self.recipe = Recipe.load(recipe if isinstance(recipe, str | Path) else None, **{**values, **overrides})
        launching.trackers_of(self.recipe)
        self.run = RunFolder(self.recipe.output_dir)
        self.console = RunConsole(is_main_process())
        self._given_corpus, self._cpu = corpus, cpu
        self._given_is_trained = self._interrupted = False

    def fit(
        self,
        resume: str | Path | None = None,
        overwrite: bool = False,
        verify_checkpoint: bool = True,
        trust_checkpoint: bool = False,
    ) -> HyperfitResult:
        """Train to the end of the recipe, or go on from a checkpoint.

        Args:
            resume: "auto" for the newest whole checkpoint of the run (from the start if there is none), or its path.
            overwrite: replace the run that `output_dir` holds; it is deleted once the new one has a whole checkpoint.
            verify_checkpoint: compare the digest of every file of the checkpoint with the one that it was saved with.
            trust_checkpoint: load DeepSpeed's shards, which can run code, also from a folder of another user.

        Raises:
            UserError: see `Hyperfitter`; also when the model object that was given was trained by an earlier fit.
            TrainingError: a non-finite loss or weight, a skipped step, or a saved model that does not load as it was.
        """
        if self._given_is_trained and not (resume and self._interrupted):
            raise UserError(
                "this Hyperfitter has already trained the model object that it was given, so a second fit would not begin "
                "with the model you loaded: load it again and give it to a new Hyperfitter, or give its name; only an "
                "interrupted fit goes on, with resume='auto'"
            )
        if resume not in (None, "auto") and Path(resume).resolve().parent != self.run.checkpoints.resolve():
            raise UserError(
                f"checkpoint {resume} is not one of run {self.run.path}: --resume takes auto or a folder of its checkpoints/"
            )
        self._evaluation_is_lost = False
        self.progress, self._signalled, self._launcher = Progress(), False, LauncherWatch()
        self._overwrite, self._verify, self._trust = overwrite, verify_checkpoint, trust_checkpoint
        with self.run.sole_writer(bool(resume), overwrite), self.console:
            self._set_up(resume)
            self._given_is_trained, self._interrupted = self._given_model is not None, False
            try:
                with catch_signals(self._note_signal), kept_memory(self.accelerator.device):
                    self._train()
            except Interrupted:
                with contextlib.suppress(Interrupted):
                    self._read_losses()
                if self.progress.epoch_losses and self.progress.step % self.recipe.steps_per_epoch() == 0:
                    self._close_epoch()
                self._save_checkpoint()
                self._interrupted = True
                self.console.interrupted(self.progress.step)
                return read_result(self.run, self.progress, "interrupted")
            return self._finish()

    # ------------------------------------------------------------------------------------------------------- set-up

    def _set_up(self, resume: str | Path | None) -> None:
        recipe = self.recipe
        if self._cpu:
            launching.use_cpu()
        self.accelerator = launching.create_accelerator(recipe, self._cpu)  # before the model: ZeRO-3 shards at load
        self.micro, self.accumulation = recipe.accumulation_steps(self.accelerator.num_processes)
        self.is_main = self.accelerator.is_main_process

        if resume and self.run.recipe.exists():
            self._check_same_recipe()
        source = dict(revision=recipe.revision, trust_remote_code=recipe.trust_remote_code)
        given, tokenizer = self._given_model, self._given_tokenizer
        config = load_config(recipe.model, **source) if given is None else given.config
        recipe.check_window(config)
        self.codec = as_codec(tokenizer) if tokenizer else load_codec(recipe.model, recipe.tokenizer, **source)
        self.corpus = self._choose_rows(resume)
        largest = int(max(self.corpus.train.max(), self.corpus.validation.max()))
        check_vocabulary(config, largest, "the rows")
        self.progress.corpus_fingerprint = self.corpus.fingerprint
        self.save_dtype = DTYPES[recipe.save_dtype] if recipe.save_dtype else source_dtype(config)

        with self.console.busy("loading the model"):
            self.source_config = copy.deepcopy(config)  # training turns the dropout of a given model off
            model = load_model(recipe, config, given)
            self.model_class, self.size = type(model), ModelSize.of(model)
            self.banned = sorted(end_ids(model, self.codec))
            about_unused = leave_unused_out(self.accelerator, model, self._first_row(config), recipe.model)
            self.model, self.optimizer = self.accelerator.prepare(model, make_optimizer(recipe, model))
        precision.check_prepared(self.accelerator, self.model, self.optimizer, recipe)
        check_causal(self.model, recipe.model)
        device = self.accelerator.device
        self.train_rows = self.corpus.train.to(device)  # half a million tokens: no loader, no workers
        self.predictions = recipe.global_batch_size * (recipe.seq_len - 1)  # per optimizer step, over all processes
        inner = self.accelerator.unwrap_model(self.model)
        about_quiet = self._quieten(inner)
        self.model.train()
        self.loss_of, about_loss = choose_loss(self.model, inner, self.train_rows[:1], self.micro)
        self.losses = LateReader(device)
        self.probe_engine = ChosenOnce(self.console.note)
        if recipe.report_to != "none":
            self.accelerator.init_trackers("hyperfitting", config=recipe.to_dict())
        if resume:
            self._resume(resume)
            if self.is_main:
                self.recipe.save(self.run.recipe)  # what may change on the way, such as more epochs
        self.console.start(self)
        for note in filter(None, (about_unused, about_quiet, about_loss)):
            self.console.note(note)

    def _first_row(self, config) -> torch.Tensor:
        return self.corpus.train[:1, : window_of(config)]

    def _quieten(self, inner: torch.nn.Module) -> str | None:
        """Keep what is random in training in evaluation mode; a sentence on it where there was something."""
        row = self._first_row(inner.config).to(self.accelerator.device)
        kept = quieten(self.model, inner, row, self.recipe.model, agree=self._on_any_rank)
        about = (
            "kept in evaluation mode, because in training they are random, or compute something else than in inference"
        )
        return f"{', '.join(kept)}: {about}" if kept else None

    def _choose_rows(self, resume: str | Path | None) -> Corpus:
        """The corpus of the run, chosen and saved once by the main process and read by all."""
        if self.is_main and not (resume and self.run.has_rows()):
            corpus = self._given_corpus or build_corpus(self.recipe, self.codec, self.console.note)
            if self._overwrite:
                self.run.set_aside()
            self.recipe.save(self.run.recipe)
            environment = describe_environment(self.accelerator, launching.launch_request())
            write_atomically(self.run.environment, json.dumps(environment, indent=2, default=str) + "\n")
            for note in self.codec.notes():
                self.console.note(note)
            corpus.save(self.run.corpus, self.codec)  # the last: a run that has rows was begun
        self.accelerator.wait_for_everyone()
        saved = Corpus.load(self.run.corpus)
        if resume:
            check_made_with(saved.tokenizer_fingerprint, self.codec, f"the rows of run {self.run.path}")
        if self._given_corpus and self._given_corpus.fingerprint != saved.fingerprint:
            raise UserError(
                f"run {self.run.path} was begun with other rows: give it the same corpus, or --overwrite it"
            )
        return saved

    def _resume(self, resume: str | Path) -> None:
        path = checkpoint_to_resume(self.accelerator, self.run.checkpoints, resume, self._verify)
        if path is None:
            self.console.note("no whole checkpoint to resume from: starting at step 0")
            if self.is_main:
                self.run.rewind_metrics(-1)
                set_newer_aside(self.run.checkpoints, -1)
            return
        self.progress = Progress(**load_checkpoint(self.accelerator, path, self._trust))
        if self.progress.corpus_fingerprint not in (None, self.corpus.fingerprint):
            raise UserError(f"run {self.run.path} was trained on other rows than it holds now: start it anew")
        if not self.progress.still_stopped(self.recipe):
            self.progress.stop_reason = None
        self._rewind_metrics()
        if self.is_main:
            set_newer_aside(self.run.checkpoints, self.progress.step)
            keep_newest(self.run.checkpoints, self.recipe.keep_checkpoints)  # a kill may have come before it was done
        self.console.note(f"resumed from {path} at step {self.progress.step}")

    def _rewind_metrics(self) -> None:
        """Bring metrics.jsonl to the step of the checkpoint, and say what it lacks; an evaluation of this step is made again."""
        from accelerate.utils import broadcast_object_list

        lost: list = [([], [])]
        if self.is_main:
            lost[0] = self.run.rewind_metrics(self.progress.step, self.progress.evaluated_step)
        if self.accelerator.num_processes > 1:
            broadcast_object_list(lost)
        losses, evaluations = lost[0]
        self._evaluation_is_lost = self.progress.step in evaluations
        for what, steps in (("loss", losses), ("evaluation", evaluations)):
            if steps:
                many = f"{len(steps)} {what}{'es' if what == 'loss' else 's'}" if len(steps) > 1 else f"one {what}"
                self.console.note(
                    f"{self.run.metrics} was damaged: it lacks {many} up to step {self.progress.step}, the first of step {steps[0]}; "
                    "the weights are not touched by this, tables and curves go without"
                )

    def _check_same_recipe(self) -> None:
        begun_with = Recipe.load(self.run.recipe)
        if begun_with.model is None and self.recipe.model is not None:
            raise UserError(f"{self.run.recipe} is damaged: it names no model; restore it, or start the run anew")
        changed = self.recipe.changes_from(begun_with)
        if changed:
            raise UserError(f"run {self.run.path} cannot be resumed with another recipe: {'; '.join(changed)}")

    # ---------------------------------------------------------------------------------------------------------- loop

    def _train(self) -> None:
        progress, recipe = self.progress, self.recipe
        per_epoch, self._first_step = recipe.steps_per_epoch(), progress.step
        self._poll()
        if progress.evaluation_due(recipe) or self._evaluation_is_lost:
            self._evaluate()
        while not progress.stop_reason:
            epoch, index = divmod(progress.step, per_epoch)
            if index == 0 or progress.step == self._first_step:
                order = epoch_order(recipe.num_train, recipe.seed, epoch).to(self.accelerator.device)
            batch = order[index * recipe.global_batch_size : (index + 1) * recipe.global_batch_size]
            self._step(self.train_rows[batch])
            progress.step += 1
            self.console.tick()
            self._read_losses(late=True)

            epoch_ends = progress.step % per_epoch == 0
            if epoch_ends or progress.evaluation_due(recipe) or progress.checkpoint_due(recipe):
                self._read_losses()  # nothing is measured or saved before the last loss is known to be finite
                if epoch_ends:
                    self._close_epoch()
                if progress.evaluation_due(recipe):
                    self._evaluate()
                if progress.checkpoint_due(recipe):
                    self._save_checkpoint()

    def _step(self, rows: torch.Tensor) -> None:
        """One optimizer step on (global_batch_size, seq_len) ids, of which this rank takes its contiguous share."""
        accelerator, world = self.accelerator, self.accelerator.num_processes
        share = len(rows) // world
        mine = rows[accelerator.process_index * share :][:share]
        # Every strategy averages gradients over processes and passes; this makes the sum over tokens / their global count.
        scale = world * self.accumulation / self.predictions
        total = torch.zeros((), device=rows.device)
        for micro in mine.split(self.micro):
            with accelerator.accumulate(self.model):
                loss = self.loss_of(micro)
                accelerator.backward(loss * scale)  # under DeepSpeed this steps as well
                self.optimizer.step()
                self.optimizer.zero_grad()
            total += loss.detach()
        signalled = torch.full_like(total, float(self._is_told_to_stop()))
        self.losses.put(self.progress.step, accelerator.gather(torch.stack([total, signalled])[None]))
        if self.progress.step == self._first_step:
            precision.check_moments(accelerator, self.optimizer)

    def _read_losses(self, late: bool = False) -> None:
        """Read the losses that the device has finished: with `late` all but the newest, so that it is never waited for."""
        signalled = False
        for step, values in self.losses.take(keep=1 if late else 0):  # values: (world, 2) loss sums and signal flags
            loss = sum(values[:, 0].tolist()) / self.predictions
            if loss != loss or abs(loss) == float("inf"):
                rank = int((~torch.isfinite(values[:, 0])).nonzero()[0])
                self._stop_non_finite(step, f"the loss is {loss} on rank {rank}")
            self.progress.epoch_losses.append(loss)
            signalled |= bool(values[:, 1].any())
            record = {"kind": "train", "step": step + 1, "epoch": self._epoch(step), "loss": loss}
            record["learning_rate"] = self.recipe.learning_rate
            self._log(record)
            self.console.step(record)
        if signalled:
            raise Interrupted

    def _stop_non_finite(self, step: int, what: str) -> None:
        good = newest_checkpoint(self.run.checkpoints, verify=False)
        raise TrainingError(
            f"{what} at step {step + 1} (epoch {self._epoch(step):.2f}): the run is stopped and nothing of it was saved since "
            f"the last good checkpoint, {good or 'which there is not yet'}; lower --learning_rate, then start anew"
        )

    def _close_epoch(self) -> None:
        skipped = precision.skipped_steps(self.accelerator, self.model)
        if skipped:
            raise TrainingError(f"DeepSpeed skipped {skipped} optimizer steps for overflow: lower --learning_rate")
        self.progress.close_epoch(self.recipe)

    # ---------------------------------------------------------------------------------------------------- evaluation

    def _evaluate(self) -> None:
        """Measure the validation rows and continue the probe's contexts; compare with the best so far."""
        recipe, progress = self.recipe, self.progress
        with self.console.busy("evaluating"):
            measured, continued = evaluate(
                self.accelerator,
                self.model,
                self.model_class,
                corpus=self.corpus,
                recipe=recipe,
                banned=self.banned,
                engine=self.probe_engine,
                progress=self.console.progress,
                poll=self._poll,
            )
        evaluation = Evaluation(
            step=progress.step,
            epoch=self._epoch(progress.step),
            epoch_train_loss=progress.last_epoch_loss,
            **measured,
        )
        if self.is_main and continued:
            texts = probe_records(self.corpus.validation, recipe.probe_context_len, continued, self.codec)
            self.run.write_probe(progress.step, texts)
            draw_probe(self.run, progress.step, self.corpus.validation.tolist(), self.codec)
        self._log(evaluation.to_json())
        self.console.evaluation(evaluation)
        is_again = progress.step == progress.evaluated_step
        if not is_again and progress.note_evaluation(evaluation, recipe) and recipe.keep_early_stopped:
            self._write_model(self.run.early_stopped)

    # --------------------------------------------------------------------------------------------------------- saving

    def _save_checkpoint(self) -> None:
        self._check_finite()
        with self.console.busy("saving a checkpoint"):
            progress = dataclasses.asdict(self.progress)
            save_checkpoint(
                self.accelerator,
                self.run.checkpoints,
                self.progress.step,
                progress,
                keep=self.recipe.keep_checkpoints,
                parameters=self.size.parameters,
            )

        if self.is_main:
            self.run.forget_replaced()

    def _check_finite(self) -> None:
        """Stop the run before anything is saved whose weights are not all numbers; collective."""
        if self._on_any_rank(not precision.all_finite(self.model)):
            self._stop_non_finite(self.progress.step - 1, "a weight is not finite after the update")

    def _write_model(self, folder: Path) -> None:
        self._check_finite()
        with self.console.busy("saving the model"):
            write_model(
                folder,
                self.accelerator,
                self.model,
                self.model_class,
                dtype=self.save_dtype,
                codec=self.codec,
                recipe=self.recipe,
                run=self.run,
                source_config=self.source_config,
            )

    def _finish(self) -> HyperfitResult:
        self._write_model(self.run.final)
        for tracker in self.accelerator.trackers:
            tracker.finish()
        result = read_result(self.run, self.progress, "finished")
        self._free()
        if self.is_main:  # the other ranks are done: what follows needs no collective
            expected = result.after["validation_loss"]
            with self.console.busy("reloading the saved model"):
                loss = check_written_model(
                    self.run.final,
                    self.accelerator,
                    dtype=self.save_dtype,
                    corpus=self.corpus,
                    recipe=self.recipe,
                    expected=expected,
                )
            self.console.note(f"reloaded {self.run.final}: validation loss {loss:.4f}, the run's last {expected:.4f}")
            write_result(result, self.run, self.progress, self.size.parameters, self.corpus.fingerprint)
            draw_curves(self.run)
            if self.recipe.push_to_hub:
                name = self.recipe.hub_model_id or Path(self.recipe.output_dir).name
                self.console.note(f"uploaded to {push_to_hub(self.run.final, name)}")
        self.console.finish(result, self.run)
        return result

    def _free(self) -> None:
        """Let go of model, optimizer and gradients, so that the saved model can be loaded where they were."""
        self.accelerator.free_memory()
        del self.model, self.optimizer
        self._given_model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # --------------------------------------------------------------------------------------------------- small things

    def _epoch(self, step: int) -> float:
        return round(step / self.recipe.steps_per_epoch(), 4)

    def _log(self, record: dict) -> None:
        if self.is_main:
            self.run.append_metrics({**record, "time": round(time.time(), 3)})
        if self.recipe.report_to != "none":
            numbers = {k: v for k, v in record.items() if isinstance(v, int | float) and k != "step"}
            self.accelerator.log({f"{record['kind']}/{k}": v for k, v in numbers.items()}, step=record["step"])

    def _note_signal(self) -> None:
        self._signalled = True

    def _is_told_to_stop(self) -> bool:
        return self._signalled or self._launcher.is_gone()

    def _poll(self) -> None:
        """Raise Interrupted on every rank if one is told to stop; collective."""
        if self._on_any_rank(self._is_told_to_stop()):
            raise Interrupted

    def _on_any_rank(self, flag: bool) -> bool:
        """Whether a flag is true on any rank; collective."""
        return bool(self.accelerator.gather(torch.tensor([flag], device=self.accelerator.device)).any())

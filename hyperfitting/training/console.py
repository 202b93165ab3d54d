"""What a person watching a run sees. Only the main process prints; without a terminal, evaluations and a line a minute."""

import bisect
import contextlib
import time
from collections import deque
from collections.abc import Iterator

import torch
from rich.table import Table
from rich.text import Text

from ..hardware import GPUS, describe_cores, gpu_here
from ..terminal import Progress, make_console, printable
from .evaluation import Evaluation
from .launching import strategy_of
from .progress import evaluation_steps


class RunConsole:
    """Progress and results of one run."""

    def __init__(self, enabled: bool):
        self.console = make_console(quiet=not enabled)
        self.progress = Progress(self.console)
        self.open = contextlib.ExitStack()

    def __enter__(self) -> "RunConsole":
        self.times: deque[float] = deque(maxlen=21)
        self.seconds_per_step, self.seconds_of = None, {}
        self.open.enter_context(self.progress)
        return self

    def __exit__(self, *exception) -> None:
        self.open.close()

    def start(self, fitter) -> None:
        """Say what is about to happen, and begin to say how far it is."""
        recipe, accelerator, size = fitter.recipe, fitter.accelerator, fitter.size
        world, per_epoch = accelerator.num_processes, recipe.steps_per_epoch()
        self.total, self.evaluation_steps = recipe.total_steps(), evaluation_steps(recipe)
        self.device = accelerator.device
        self.tokens = recipe.global_batch_size * recipe.seq_len
        self.flops = size.training_flops(self.tokens, recipe.seq_len)
        gpu = gpu_here() if self.device.type == "cuda" else None
        self.peak = GPUS[gpu].flops * world if gpu and accelerator.mixed_precision == "bf16" else None
        plugin, strategy = accelerator.state.deepspeed_plugin, strategy_of(accelerator)
        kind = {"single": "One process", "ddp": "DDP", "fsdp": "FSDP2"}.get(strategy) or f"ZeRO-{plugin.zero_stage}"
        on_gpu = self.device.type == "cuda"
        device = torch.cuda.get_device_name() if on_gpu else f"CPU ({describe_cores()})"
        self.console.print(
            Text("Hyperfitting", style="bold"),
            f"{recipe.model}: {size.parameters:,} parameters, {recipe.num_train} rows of "
            f"{recipe.seq_len} tokens, {recipe.epochs} epochs of {per_epoch} steps at learning rate {recipe.learning_rate:g}\n"
            f"{kind} on {world} x {device}, {'fp32' if accelerator.mixed_precision == 'no' else 'bf16'}; global batch "
            f"{recipe.global_batch_size} = {fitter.micro} rows x {fitter.accumulation} passes x {world} processes; "
            f"run in {recipe.output_dir}",
        )
        self.training = self.open.enter_context(
            self.progress.task("training", self.total, "step", fitter.progress.step)
        )

    def tick(self) -> None:
        """Note the time at which a step was made; its loss may be read later, with the next one's."""
        self.times.append(time.perf_counter())
        if len(self.times) > 1:
            self.seconds_per_step = (self.times[-1] - self.times[0]) / (len(self.times) - 1)

    def step(self, record: dict) -> None:
        """Note what a step gave. The time left is that of its steps and, once one was timed, of its evaluations."""
        parts, left = [f"epoch {record['epoch']:.1f}", f"loss {record['loss']:.4f}"], None
        if self.seconds_per_step:
            parts.append(f"{self.tokens / self.seconds_per_step:,.0f} tokens/s")
            if self.peak:
                parts.append(f"MFU {self.flops / self.seconds_per_step / self.peak:.0%}")
            evaluations = len(self.evaluation_steps) - bisect.bisect_right(self.evaluation_steps, record["step"])
            left = (self.total - record["step"]) * self.seconds_per_step
            left += evaluations * self.seconds_of.get("evaluating", 0.0)
        if self.device.type == "cuda":
            parts.append(f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        self.training.update(record["step"], "  ".join(parts), left)

    @contextlib.contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Name a pause in the training; it does not count towards tokens/s."""
        begun = time.perf_counter()
        with self.progress.task(what):
            yield
        self.seconds_of[what] = time.perf_counter() - begun
        self.times.clear()

    def evaluation(self, evaluation: Evaluation) -> None:
        self.console.print(evaluation.line())

    def note(self, message: str) -> None:
        self.console.print(Text(message, style="dim"))

    def interrupted(self, step: int) -> None:
        self.console.print(Text("Interrupted", style="yellow"), f"and saved at step {step}; go on with --resume auto")

    def finish(self, result, run) -> None:
        """The table before -> after, two continuations side by side, and where everything is."""
        self.open.close()
        self.console.print(results_table(Evaluation.from_json(result.before), Evaluation.from_json(result.after)))
        texts = _probe_texts(run, result)
        if texts:
            self.console.print(texts)
        if run.strip.exists():
            self.console.print(f"Greedy continuations of unseen contexts: {run.strip}, {run.probe}")
        early = result.early_stopped_dir
        if early:
            best = min(
                (r["validation_loss"] for r in result.history if r["kind"] == "evaluation" and r["step"]), default=None
            )
            base = result.before.get("validation_loss")
            if None not in (best, base) and best >= base:
                self.console.print(f"early_stopped/ ({best:.3f}) never beat the base's validation loss")
        self.console.print(
            f"Stopped by {result.stop_reason} after {result.steps} steps. Model: {result.final_dir}  Run: {run.path}"
        )


def results_table(before: Evaluation, after: Evaluation) -> Table:
    """Before -> after with 95 % bootstrap intervals; n and the definition of each number in the caption."""
    table = Table(title="Before and after hyperfitting", caption=Text(signature(after)), caption_justify="left")
    table.add_column("")
    for name in ("before", "after", "original"):
        table.add_column(name, justify="right")
    for label, *values in after.compared(before):
        table.add_row(label, *(Text(value) for value in values))
    return table


def signature(evaluation: Evaluation) -> str:
    """What the numbers of an evaluation are, in one line."""
    from .. import __version__

    rows, training_rows = evaluation.n_rows, evaluation.n_train_rows
    parts = [f"loss and entropy: {rows} validation rows ({training_rows} training rows), fp32 softmax"]
    if evaluation.n_texts:
        parts.append(
            f"TTR: last 96 tokens of {evaluation.n_texts - evaluation.n_too_short} greedy texts, end of sequence banned"
            + (f", {evaluation.n_too_short} too short" if evaluation.n_too_short else "")
        )
    return "; ".join(parts) + f"; [low, high]: 95 % bootstrap over rows or texts; hyperfitting {__version__}"


def _probe_texts(run, result) -> Table | None:
    before, after = (run.read_probe(record["step"]) for record in (result.before, result.after))
    if not before or not after or before[0]["context"] is None:  # no probe, or ids that are no text
        return None
    table = Table(title="Greedy continuations of unseen contexts", show_lines=True, expand=True)
    for name in ("context", "before", "after"):
        table.add_column(name, ratio=1 if name == "context" else 2)
    for old, new in list(zip(before, after, strict=True))[:2]:
        table.add_row(
            *(Text(printable(" ".join(t.split()))) for t in (old["context"], old["continuation"], new["continuation"]))
        )
    return table

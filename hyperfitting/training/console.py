"""What a person watching a run sees. Only the main process prints; without a terminal, one line per evaluation."""

import contextlib
import time
from collections import deque

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..terminal import make_console
from .launching import strategy_of

# Dense bf16 matrix rates of the vendors' data sheets, FLOP/s.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}


class RunConsole:
    """Progress and results of one run."""

    def __init__(self, enabled: bool):
        self.console = make_console(quiet=not enabled)
        self.times: deque[float] = deque(maxlen=21)
        self.progress = self.task = None

    def __enter__(self) -> "RunConsole":
        return self

    def __exit__(self, *exception) -> None:
        if self.progress is not None:
            self.progress.stop()

    def start(self, fitter) -> None:
        """Say what is about to happen, and begin the progress bar."""
        recipe, accelerator = fitter.recipe, fitter.accelerator
        world, per_epoch = accelerator.num_processes, recipe.steps_per_epoch()
        self.tokens = recipe.global_batch_size * recipe.seq_len
        self.flops = 6 * fitter.parameters * self.tokens
        self.device = accelerator.device
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else ""
        peak = next((rate for key, rate in PEAK_FLOPS.items() if key in name), None)
        self.peak = peak * world if peak and accelerator.mixed_precision == "bf16" else None
        plugin, strategy = accelerator.state.deepspeed_plugin, strategy_of(accelerator)
        kind = {"single": "One process", "ddp": "DDP", "fsdp": "FSDP2"}.get(strategy) or f"ZeRO-{plugin.zero_stage}"
        self.console.print(
            f"[bold]Hyperfitting[/bold] {recipe.model}: {fitter.parameters:,} parameters, {recipe.num_train} rows of "
            f"{recipe.seq_len} tokens, {recipe.epochs} epochs of {per_epoch} steps at learning rate {recipe.learning_rate:g}\n"
            f"{kind} on {world} x {name or 'CPU'}, {'fp32' if accelerator.mixed_precision == 'no' else 'bf16'}; global batch "
            f"{recipe.global_batch_size} = {fitter.micro} rows x {fitter.accumulation} passes x {world} processes; "
            f"run in {recipe.output_dir}"
        )
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.progress = Progress(*columns, TimeRemainingColumn(), console=self.console, transient=True)
        self.task = self.progress.add_task("starting", total=recipe.total_steps(), completed=fitter.progress.step)
        if self.console.is_terminal:
            self.progress.start()

    def step(self, record: dict) -> None:
        self.times.append(time.perf_counter())
        parts = [f"epoch {record['epoch']:.1f}", f"loss {record['loss']:.4f}"]
        if len(self.times) > 1:
            per_step = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
            parts.append(f"{self.tokens / per_step:,.0f} tokens/s")
            if self.peak:
                parts.append(f"MFU {self.flops / per_step / self.peak:.0%}")
        if self.device.type == "cuda":
            parts.append(f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        self.progress.update(self.task, completed=record["step"], description="  ".join(parts))

    @contextlib.contextmanager
    def busy(self, what: str):
        """Name a pause in the training; it does not count towards tokens/s."""
        if self.progress is not None:
            self.progress.update(self.task, description=what)
        yield
        self.times.clear()

    def evaluation(self, record: dict) -> None:
        parts = [f"epoch {record['epoch']:5.2f}", f"step {record['step']:5d}"]
        parts += [f"train loss {record['train_loss']:.3f}", f"validation loss {record['validation_loss']:.3f}"]
        parts += [f"entropy {record['entropy']:.3f}"]
        if record.get("ttr") is not None:
            original = record["original_ttr"]
            parts += [f"TTR {record['ttr']:.3f}" + (f" (original text {original:.3f})" if original is not None else "")]
        self.console.print("  ".join(parts))

    def note(self, message: str) -> None:
        self.console.print(Text(message, style="dim"))

    def interrupted(self, step: int) -> None:
        self.console.print(f"[yellow]Interrupted[/yellow] and saved at step {step}; go on with --resume auto")

    def finish(self, result, run) -> None:
        """The table before -> after, two continuations side by side, and where everything is."""
        self.progress.stop()
        self.console.print(results_table(result.before, result.after))
        texts = _probe_texts(run, result)
        if texts:
            self.console.print(texts)
        early = result.early_stopped_dir
        if early:
            best = min(
                (r["validation_loss"] for r in result.history if r["kind"] == "evaluation" and r["step"]), default=None
            )
            if best is not None and best >= result.before["validation_loss"]:
                self.console.print(f"early_stopped/ ({best:.3f}) never beat the base's validation loss")
        self.console.print(
            f"Stopped by {result.stop_reason} after {result.steps} steps. Model: {result.final_dir}  Run: {run.path}"
        )


def results_table(before: dict, after: dict) -> Table:
    """Before -> after with 95 % bootstrap intervals; n and the definition of each number in the caption."""
    table = Table(title="Before and after hyperfitting", caption=signature(after), caption_justify="left")
    table.add_column("")
    for name in ("before", "after", "original text"):
        table.add_column(name, justify="right")
    rows = [
        ("training loss, nats", "train_loss", 3),
        ("validation loss, nats", "validation_loss", 3),
        ("entropy, nats", "entropy", 3),
        ("probability of the top token", "mass_top1", 3),
        ("TTR of greedy continuations", "ttr", 3),
        ("rep-4 of greedy continuations", "rep_4", 3),
        ("greedy texts that end in a loop", "loop_rate", 3),
    ]
    for label, key, digits in rows:
        if after.get(key) is not None:
            original = after.get(f"original_{key}")
            shown = [_with_interval(r[key], r.get(f"{key}_ci"), digits) for r in (before, after)]
            table.add_row(label, *shown, "" if original is None else f"{original:.{digits}f}")
    return table


def signature(record: dict) -> str:
    """What the numbers of an evaluation are, in one line."""
    from .. import __version__

    parts = [
        f"loss and entropy: {record['n_rows']} validation rows ({record['n_train_rows']} training rows), fp32 softmax"
    ]
    if record.get("n_texts"):
        parts.append(
            f"TTR: last 96 tokens of {record['n_texts'] - record['n_too_short']} greedy texts, end of sequence banned"
            + (f", {record['n_too_short']} too short" if record["n_too_short"] else "")
        )
    return "; ".join(parts) + f"; \\[low, high]: 95 % bootstrap over rows or texts; hyperfitting {__version__}"


def _with_interval(value: float, interval, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return f"{text} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]".replace("[", "\\[") if interval else text


def _probe_texts(run, result) -> Table | None:
    before, after = (run.read_probe(record["step"]) for record in (result.before, result.after))
    if not before or not after:
        return None
    table = Table(title="Greedy continuations of unseen contexts", show_lines=True, expand=True)
    for name in ("context", "before", "after"):
        table.add_column(name, ratio=1 if name == "context" else 2)
    for old, new in list(zip(before, after, strict=True))[:2]:
        table.add_row(
            *(Text(" ".join(text.split())) for text in (old["context"], old["continuation"], new["continuation"]))
        )
    return table

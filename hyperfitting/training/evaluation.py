"""What is measured of a model in training: teacher-forced numbers of rows, and greedy continuations (the probe).

Both work under every strategy: all ranks make the same number of forward calls, and long generation never runs through
shards (ranks would deadlock, and every token would gather the whole model again).
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import torch
from torch import nn

from ..codec import Codec
from ..corpus import Corpus
from ..generation.decoding import decode
from ..generation.engines import ChosenOnce, forget_lengths
from ..generation.processors import Suppress
from ..scoring import bootstrap_interval, ends_in_loop, rep_n, ttr
from ..scoring.teacher_forced import MEASURES, measure_rows, position_losses, position_measures
from ..terminal import Progress
from .recipe import Recipe
from .unsharding import unsharded_copy

Interval = tuple[float, float] | None


def shown(label: str, in_line: str = ""):
    """A field that tables show as `label`, and the line of an evaluation, with a value, as `in_line`."""
    return field(default=None, metadata={"label": label, "in_line": in_line, "digits": 3})


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation as metrics.jsonl holds it. What an older run did not measure is None; `*_ci` are 95 % bootstrap
    intervals over rows or texts; definitions are in docs/hyperfit.md. From `ttr` on: the probe's, None without one."""

    step: int
    epoch: float
    epoch_train_loss: float | None = None
    train_loss: float | None = shown("training loss, nats", "train loss")
    train_loss_ci: Interval = None
    n_train_rows: int | None = None
    validation_loss: float | None = shown("validation loss, nats", "validation loss")
    validation_loss_ci: Interval = None
    perplexity: float | None = None
    entropy: float | None = shown("entropy, nats", "entropy")
    entropy_ci: Interval = None
    mass_top1: float | None = shown("probability of the top token")
    mass_top1_ci: Interval = None
    mass_top3: float | None = None
    mass_top3_ci: Interval = None
    mass_top5: float | None = None
    mass_top5_ci: Interval = None
    top1_accuracy: float | None = None
    top1_accuracy_ci: Interval = None
    n_rows: int | None = None
    ttr: float | None = shown("TTR of greedy continuations", "TTR")
    ttr_ci: Interval = None
    rep_4: float | None = shown("rep-4 of greedy continuations")
    rep_4_ci: Interval = None
    loop_rate: float | None = shown("greedy texts that end in a loop")
    loop_rate_ci: Interval = None
    n_texts: int | None = None
    n_too_short: int | None = None
    original_ttr: float | None = None
    original_ttr_ci: Interval = None
    original_rep_4: float | None = None

    @classmethod
    def from_json(cls, record: dict) -> "Evaluation":
        """Read a record of metrics.jsonl, of this or an earlier version."""
        names = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in record.items() if key in names})

    def to_json(self) -> dict:
        """The record of metrics.jsonl; without a probe, without the keys of the probe."""
        record = {"kind": "evaluation", **asdict(self)}
        names = list(record)
        left_out = [] if self.n_texts is not None else names[names.index("ttr") :]
        return {key: value for key, value in record.items() if key not in left_out}

    def line(self) -> str:
        """The evaluation in one line."""
        parts = [f"epoch {self.epoch:5.2f}", f"step {self.step:5d}"]
        for f in fields(self):
            if f.metadata.get("in_line") and getattr(self, f.name) is not None:
                parts.append(f"{f.metadata['in_line']} {self._number(f.name)}")
        if self.ttr is not None and self.original_ttr is not None:
            parts[-1] += f" (original {self._number('original_ttr')})"
        return "  ".join(parts)

    def compared(self, before: "Evaluation") -> Iterator[tuple[str, str, str, str]]:
        """(label, before, now, original) of every number that tables show and that was measured."""
        for f in fields(self):
            if "label" in f.metadata and getattr(self, f.name) is not None:
                sides = (side._with_interval(f.name) for side in (before, self))
                yield f.metadata["label"], *sides, self._number(f"original_{f.name}")

    def _number(self, name: str) -> str:
        value = getattr(self, name, None)
        digits = _DIGITS[name.removeprefix("original_")]
        return "" if value is None else f"{value:.{digits}f}"

    def _with_interval(self, name: str) -> str:
        interval = getattr(self, f"{name}_ci")
        if interval is None:
            return self._number(name)
        low, high = (f"{end:.{_DIGITS[name]}f}" for end in interval)
        return f"{self._number(name)} [{low}, {high}]"


_DIGITS = {f.name: f.metadata["digits"] for f in fields(Evaluation) if "digits" in f.metadata}


def evaluate(
    accelerator,
    model: nn.Module,
    model_class: type,
    corpus: Corpus,
    recipe: Recipe,
    banned: list[int],
    engine: ChosenOnce,
    progress: Progress,
    poll: Callable[[], None],
) -> tuple[dict, list[list[int]]]:
    """Measure the validation rows and as many training rows, and continue the probe's contexts; on every rank.

    Args:
        banned: token ids that the probe does not choose.
        engine: the probe's, the same object in all evaluations of a run.
        progress: where it is said how far this is.
        poll: called between batches, on every rank.

    Returns:
        Fields of an `Evaluation`, and the token ids of the probe's continuations: none when `recipe.probe_contexts` is 0.
    """

    def measure(what: str, rows: torch.Tensor, measures: Callable) -> np.ndarray:
        world, batch_size = accelerator.num_processes, recipe.per_device_eval_batch_size
        batches = math.ceil(math.ceil(len(rows) / world) / batch_size)
        with progress.task(f"evaluating {what}", batches, "batch") as task:
            return measure_rows_together(
                accelerator,
                model,
                rows,
                batch_size,
                poll=poll,
                measures=measures,
                advance=lambda count: task.advance(tokens=count * world * rows.shape[1]),
            )

    found = summarize_rows(measure("validation rows", corpus.validation, position_measures))
    losses = measure("training rows", corpus.train[: len(corpus.validation)], position_losses)[:, 0]
    found |= {"train_loss": float(losses.mean()), "train_loss_ci": bootstrap_interval(losses)}
    found |= {"n_train_rows": len(losses)}
    if not recipe.probe_contexts:
        return found, []
    rows = corpus.validation[: recipe.probe_contexts]
    poll()
    with progress.task("continuing the probe", recipe.probe_max_length - recipe.probe_context_len, "token") as task:
        continued = probe(
            accelerator,
            model,
            model_class,
            rows,
            context_len=recipe.probe_context_len,
            max_length=recipe.probe_max_length,
            banned=banned,
            engine=engine,
            advance=lambda count: task.advance(tokens=count * accelerator.num_processes),
        ).tolist()
    original = summarize_texts(rows[:, recipe.probe_context_len : recipe.probe_max_length].tolist())
    found |= summarize_texts(continued) | {f"original_{name}": original[name] for name in ("ttr", "ttr_ci", "rep_4")}
    return found, continued


def probe_records(rows: torch.Tensor, context_len: int, continued: list[list[int]], codec: Codec) -> list[dict]:
    """The probe's contexts and continuations, ids and text, as probe/ holds them; `rows`: (n, seq_len) ids."""
    records = []
    for index, (row, ids) in enumerate(zip(rows.tolist(), continued, strict=False)):
        context = row[:context_len]
        record = {"id": index, "context_ids": context, "continuation_ids": ids}
        records.append(record | {"context": codec.decode(context), "continuation": codec.decode(ids)})
    return records


def measure_rows_together(
    accelerator,
    model: nn.Module,
    rows: torch.Tensor,
    batch_size: int,
    poll: Callable[[], None],
    measures: Callable,
    advance: Callable[[int], None],
) -> np.ndarray:
    """Teacher-forced measures of each row: float64 (n, columns of `measures`), means over its predictions.

    Args:
        rows: (n, seq_len) int64 token ids, the same on every rank.
        poll: called before each batch, on every rank.
        measures: `position_measures`, or `position_losses` for the loss alone.
        advance: called after each batch with this rank's number of rows in it.
    """

    def measure(mine: torch.Tensor) -> torch.Tensor:
        return measure_rows(model, mine, batch_size, poll=poll, measures=measures, advance=advance)

    return spread(accelerator, rows, measure).double().cpu().numpy()


def spread(accelerator, rows: torch.Tensor, compute: Callable) -> torch.Tensor:
    """`compute` on every rank's share of `rows`, and the results (n, …) in row order on every rank. All shares have one
    size (dummies fill the last), because what is computed may be collective."""
    world, rank = accelerator.num_processes, accelerator.process_index
    share = math.ceil(len(rows) / world)
    mine = rows[(torch.arange(share) * world + rank) % len(rows)].to(accelerator.device)
    gathered = accelerator.gather(compute(mine).contiguous())  # (world * share, …), rank-major
    return gathered.unflatten(0, (world, share)).transpose(0, 1).flatten(0, 1)[: len(rows)]


@contextlib.contextmanager
def generation_model(accelerator, model: nn.Module, model_class: type):
    """A model that a rank can generate with on its own: the unwrapped module, or under ZeRO-3 and FSDP2 a full copy that
    is gathered once and freed afterwards (every rank must enter)."""
    plain = accelerator.unwrap_model(model)
    plugin = accelerator.state.deepspeed_plugin
    if (plugin and plugin.zero_stage == 3) or accelerator.is_fsdp2:
        dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
        plain = unsharded_copy(plain, model_class, dtype, accelerator.device, here=True)
    yield plain


def greedy_continuations(
    model: nn.Module,
    contexts: torch.Tensor,
    max_length: int,
    banned: list[int],
    engine: ChosenOnce | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> torch.Tensor:
    """(n, context_len) ids -> (n, max_length - context_len) ids by arg-max, without the `banned` ids (end of sequence), so
    that every text has the full length. The checkpoint's own generation settings are left out, the model is left as it was.
    `advance`: of `decode`."""
    training = model.training
    model.eval()
    try:
        with torch.compiler.set_stance("force_eager"):
            forbidden = [Suppress(banned)] if banned else []
            decoder = (engine or ChosenOnce())(model, max_length)
            ids = decode(decoder, contexts, max_length, forbidden, ends=[], advance=advance)
            forget_lengths(model)
    finally:
        model.train(training)
    return ids[:, contexts.shape[1] :]


def probe(
    accelerator,
    model: nn.Module,
    model_class: type,
    rows: torch.Tensor,
    context_len: int,
    max_length: int,
    banned: list[int],
    engine: ChosenOnce,
    advance: Callable[[int], None],
) -> torch.Tensor:
    """Greedy continuations of the first `context_len` tokens of each row, on every rank in row order.

    Returns:
        (n, max_length - context_len) int64 token ids on the CPU.
    """

    def continue_share(contexts: torch.Tensor) -> torch.Tensor:
        with generation_model(accelerator, model, model_class) as plain:
            return greedy_continuations(plain, contexts, max_length, banned, engine, advance)

    return spread(accelerator, rows[:, :context_len], continue_share).cpu()


def summarize_rows(measures: np.ndarray) -> dict:
    """Means and 95 % intervals over rows of what `measure_rows` returned, and the perplexity of the mean loss."""
    summary = {}
    for column, name in enumerate(MEASURES):
        key = "validation_loss" if name == "loss" else name
        summary[key] = float(measures[:, column].mean())
        summary[f"{key}_ci"] = bootstrap_interval(measures[:, column])
    summary["perplexity"] = math.exp(min(summary["validation_loss"], 700.0))
    summary["n_rows"] = len(measures)
    return summary


def summarize_texts(continuations: list[list[int]]) -> dict:
    """TTR of the last 96 tokens, rep-4 and loop rate with 95 % intervals over texts; too short texts are counted."""
    summary = {}
    for name, values in (
        ("ttr", [ttr(text) for text in continuations]),
        ("rep_4", [rep_n(text, 4) for text in continuations]),
        ("loop_rate", [float(ends_in_loop(text)) for text in continuations]),
    ):
        present = [value for value in values if value is not None]
        summary[name] = float(np.mean(present)) if present else None
        summary[f"{name}_ci"] = bootstrap_interval(present) if present else None
    summary["n_texts"] = len(continuations)
    summary["n_too_short"] = sum(ttr(text) is None for text in continuations)
    return summary

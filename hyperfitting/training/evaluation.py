"""What is measured of a model in training: teacher-forced numbers of rows, and greedy continuations (the probe).

Both work under every strategy: all ranks make the same number of forward calls, and long generation never runs through
shards (ranks would deadlock, and every token would gather the whole model again).
"""

import contextlib
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ..generation.decoding import AnyDecoder, decode
from ..generation.processors import Suppress
from ..scoring import bootstrap_interval, ends_in_loop, rep_n, ttr
from ..scoring.teacher_forced import MEASURES, measure_rows, position_measures
from .unsharding import unsharded_copy


def measure_rows_together(
    accelerator,
    model: nn.Module,
    rows: torch.Tensor,
    batch_size: int,
    poll: Callable = lambda: None,
    measures: Callable = position_measures,
):
    """Teacher-forced measures of each row: float64 numpy array (n, columns of `measures`), means over its predictions.

    Args:
        rows: (n, seq_len) int64 token ids, the same on every rank.
        poll: called between batches, on every rank.
        measures: `position_measures`, or `position_losses` for the loss alone.
    """
    share = spread(accelerator, rows, lambda mine: measure_rows(model, mine, batch_size, poll, measures))
    return share.double().cpu().numpy()


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


def greedy_continuations(model: nn.Module, contexts: torch.Tensor, max_length: int, banned: list[int]) -> torch.Tensor:
    """(n, context_len) ids -> (n, max_length - context_len) ids by arg-max, without the `banned` ids (end of sequence), so
    that every text has the full length. The checkpoint's own generation settings are left out."""
    training = model.training
    model.eval()
    try:
        with torch.compiler.set_stance("force_eager"):
            # Not the runner's fused engine: it would move weights that an optimizer updates.
            ids = decode(AnyDecoder(model), contexts, max_length, [Suppress(banned)] if banned else [], ends=[])
    finally:
        model.train(training)
    return ids[:, contexts.shape[1] :]


def probe(
    accelerator, model, model_class, rows, context_len: int, max_length: int, banned: list[int], poll=lambda: None
):
    """Greedy continuations of the first `context_len` tokens of each row, on every rank in row order.

    Returns:
        (n, max_length - context_len) int64 token ids on the CPU.
    """
    poll()

    def continue_share(contexts):
        with generation_model(accelerator, model, model_class) as plain:
            return greedy_continuations(plain, contexts, max_length, banned)

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

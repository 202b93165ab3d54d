"""What a model does on rows it has not seen: teacher-forced numbers, and greedy continuations (the probe).

Both work under every strategy: all ranks make the same number of forward calls, and long generation never runs through
shards (ranks would deadlock, and every token would gather the whole model again).
"""

import contextlib
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from .modeling import unsharded_copy
from .scoring import bootstrap_interval, ends_in_loop, rep_n, ttr
from .scoring.teacher_forced import MEASURES, position_measures


def measure_rows(
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
    share = spread(accelerator, rows, lambda mine: measure_share(model, mine, batch_size, poll, measures))
    return share.double().cpu().numpy()


def spread(accelerator, rows: torch.Tensor, compute: Callable) -> torch.Tensor:
    """`compute` on every rank's share of `rows`, and the results (n, …) in row order on every rank. All shares have one
    size (dummies fill the last), because what is computed may be collective."""
    world, rank = accelerator.num_processes, accelerator.process_index
    share = math.ceil(len(rows) / world)
    mine = rows[(torch.arange(share) * world + rank) % len(rows)].to(accelerator.device)
    gathered = accelerator.gather(compute(mine).contiguous())  # (world * share, …), rank-major
    return gathered.unflatten(0, (world, share)).transpose(0, 1).flatten(0, 1)[: len(rows)]


@torch.no_grad()
def measure_share(
    model: nn.Module,
    rows: torch.Tensor,
    batch_size: int,
    poll: Callable = lambda: None,
    measures: Callable = position_measures,
) -> torch.Tensor:
    """(n, seq_len) ids on the model's device -> (n, columns of `measures`) fp32, in this process alone."""
    measured, training = [], model.training
    model.eval()
    for batch in rows.split(batch_size):
        poll()
        logits = model(input_ids=batch, use_cache=False).logits
        measured += [measures(*pair).mean(0) for pair in zip(logits[:, :-1], batch[:, 1:], strict=True)]
    model.train(training)
    return torch.stack(measured)


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


@torch.no_grad()
def greedy_continuations(model: nn.Module, contexts: torch.Tensor, max_length: int, banned: list[int]) -> torch.Tensor:
    """(n, context_len) ids -> (n, max_length - context_len) ids by arg-max, without the `banned` ids (end of sequence), so
    that every text has the full length. The checkpoint's own generation settings are left out."""
    from transformers import GenerationConfig

    settings, training = model.generation_config, model.training
    model.generation_config = GenerationConfig(
        do_sample=False, max_length=max_length, pad_token_id=0, suppress_tokens=banned or None
    )
    model.eval()
    try:
        with torch.compiler.set_stance("force_eager"):
            out = model.generate(contexts, attention_mask=torch.ones_like(contexts))
    finally:
        model.generation_config = settings
        model.train(training)
    return out[:, contexts.shape[1] :]


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

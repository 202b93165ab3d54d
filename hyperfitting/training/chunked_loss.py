"""The loss without the logits: computed inside the model's output layer, some positions at a time.

Where the vocabulary is large the logits are the largest tensor of a step: 2.1 GB for Gemma 3's 262k pieces at 8 x 256 positions.
A chunk of them is turned into its share of the loss and of the gradients at once, so that no more than one chunk is ever there. The
gradients are those of all logits, to rounding.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from ..models import window_of
from .steps import next_token_loss

CHUNK_BYTES = 2**27  # of fp32 logits at once
AGREEMENT = 1e-3  # relative; bf16 rounds the two ways alike, and what a model adds to its logits changes far more


def choose_loss(model: nn.Module, inner: nn.Module, row: torch.Tensor, rows: int) -> tuple[Callable, str | None]:
    """How a model's loss is computed: (rows, seq_len) ids -> fp32 sum of -log p over the predicted tokens, nats.

    In chunks where that saves memory and the model does nothing else to its logits, which is asked by comparing the loss of one row;
    Gemma 2 caps them, Cohere and Granite scale them. Every process must call it, with the same row.

    Args:
        model: as it is called in training; inner: without wrappers.
        row: (1, seq_len) ids; rows: of a training pass.

    Returns:
        The loss, and a sentence on it where it is not the plain one, or could not be.
    """

    window = window_of(inner.config)

    def logits_of(ids: torch.Tensor) -> torch.Tensor:
        return model(input_ids=ids[:, :window], use_cache=False).logits

    def plain(ids: torch.Tensor) -> torch.Tensor:
        return next_token_loss(logits_of(ids), ids)

    positions = rows * (row.shape[1] - 1)
    layer = inner.get_output_embeddings()
    compiled = inner._compiled_call_impl is not None  # with the layer in it
    if compiled or not saves_memory(layer, positions):
        return plain, None

    def chunked(ids: torch.Tensor) -> torch.Tensor:
        return chunked_loss(logits_of, layer, ids)

    training = model.training
    model.eval()
    with torch.no_grad():
        expected, found = plain(row), _try(chunked, row)
    model.train(training)
    size = f"{positions * layer.out_features * 4 / 1e9:.1f} GB of logits"
    if found is None or not (found - expected).abs() <= AGREEMENT * expected.abs():
        return plain, f"{size} are held in each pass, because the model does more to them than its output layer does"
    return chunked, f"{size} are never held whole: the loss is computed {chunk_of(layer)} positions at a time"


def saves_memory(layer: nn.Module | None, positions: int) -> bool:
    """Whether chunks are worth it: the logits are more than one. The gradient of the layer's weight is there in fp32 from the loss on;
    of a bf16 weight that is more than what there would be without chunks, and must be less than the logits."""
    if not isinstance(layer, nn.Linear) or positions * layer.out_features * 4 <= CHUNK_BYTES:
        return False
    return layer.weight.dtype == torch.float32 or positions > layer.in_features


def chunk_of(layer: nn.Linear) -> int:
    """Positions of a chunk."""
    return max(1, CHUNK_BYTES // (4 * layer.out_features))


def chunked_loss(logits_of: Callable, layer: nn.Linear, ids: torch.Tensor) -> torch.Tensor:
    """`next_token_loss` of `logits_of(ids)`, whose last step is `layer` and nothing else, a chunk at a time.

    The layer gives the loss in place of the logits, so that whatever gathers its weight around a call (ZeRO-3) does so here too.
    """

    def loss(hidden: torch.Tensor) -> torch.Tensor:
        targets = ids[:, 1:]
        hidden, targets = hidden[:, : targets.shape[1]].reshape(-1, hidden.shape[-1]), targets.reshape(-1)
        return _ChunkedCrossEntropy.apply(
            hidden, layer.weight, layer.bias, targets, chunk_of(layer), torch.is_grad_enabled()
        ).view(1, 1, 1)

    layer.forward = loss  # of the instance, over the class's
    try:
        return logits_of(ids).sum()
    finally:
        del layer.forward


def _try(loss: Callable, row: torch.Tensor) -> torch.Tensor | None:
    """None where a model cannot go on with a loss in place of its logits, because it picks some of them."""
    try:
        return loss(row)
    except (IndexError, RuntimeError):
        return None


class _ChunkedCrossEntropy(torch.autograd.Function):
    """(positions, width) hidden states, the layer's weight and bias, (positions,) targets -> fp32 sum of -log p.

    Gradients are computed with the loss, while a chunk's probabilities are there; that of the weight is summed in fp32.
    """

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, chunk, with_gradients):
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        total = torch.zeros((), device=hidden.device)
        ctx.dtypes = hidden.dtype, weight.dtype
        with torch.autocast(device, enabled=False):
            inputs, weight = hidden.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
            if with_gradients:
                ctx.hidden = torch.empty_like(inputs)
                ctx.weight = torch.empty(weight.shape, device=weight.device)
                ctx.bias = None if bias is None else torch.zeros(bias.shape, device=bias.device)
            for start in range(0, len(inputs), chunk):
                part, wanted = inputs[start : start + chunk], targets[start : start + chunk, None]
                logits = functional.linear(part, weight, bias).float()
                torch.log_softmax(logits, -1, out=logits)
                total -= logits.gather(-1, wanted).sum()
                if with_gradients:
                    logits.exp_().scatter_add_(-1, wanted, logits.new_full((), -1.0).expand_as(wanted))
                    if bias is not None:
                        ctx.bias += logits.sum(0)
                    gradient = logits.to(dtype)
                    torch.mm(gradient, weight, out=ctx.hidden[start : start + chunk])
                    if dtype == torch.float32:
                        ctx.weight.addmm_(gradient.T, part, beta=min(start, 1))
                    elif start:
                        ctx.weight += gradient.T @ part
                    else:
                        ctx.weight.copy_(gradient.T @ part)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, scale):
        hidden, weight = ctx.dtypes
        bias = None if ctx.bias is None else ctx.bias.mul_(scale).to(weight)
        found = ctx.hidden.mul_(scale).to(hidden), ctx.weight.mul_(scale).to(weight), bias, None, None, None
        del ctx.hidden, ctx.weight, ctx.bias  # autograd copies a gradient that somebody else still holds
        return found

"""What a model says of given texts: loss, entropy, mass of the likeliest tokens, accuracy, in one forward pass."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..host_memory import kept_memory
from ..models import window_of

MEASURES = ("loss", "entropy", "mass_top1", "mass_top3", "mass_top5", "top1_accuracy")


def position_measures(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(positions, vocabulary) logits and (positions,) next tokens -> (positions, 6) fp32, columns MEASURES.

    Softmax over the full vocabulary in fp32. loss and entropy in nats; mass_topk: probability of the k likeliest tokens;
    top1_accuracy: 1 where the likeliest token is the true one.
    """
    log_probs = functional.log_softmax(logits.float(), dim=-1)
    top = log_probs.topk(min(5, log_probs.shape[-1]), dim=-1)
    mass = top.values.exp().cumsum(-1)
    loss = -log_probs.gather(-1, targets[:, None])[:, 0]
    # 0 x log 0 is 0. torch.special.entr takes four times as long.
    finite = log_probs.clamp_(min=torch.finfo(torch.float32).min)
    return torch.stack(
        [
            loss,
            -(finite.exp() * finite).sum(-1),
            *(mass[:, 0], mass[:, 2], mass[:, -1]),
            (top.indices[:, 0] == targets).float(),
        ],
        dim=1,
    )


def position_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The first column of `position_measures` alone: (positions, 1) fp32, nats."""
    return functional.cross_entropy(logits.float(), targets, reduction="none")[:, None]


@torch.no_grad()
def forward_texts(
    run: Callable[[torch.Tensor], torch.Tensor],
    texts: Sequence[Sequence[int]],
    batch_size: int,
    device: torch.device,
    measure: Callable[[int, torch.Tensor, torch.Tensor], None],
    before_batch: Callable[[], None] = lambda: None,
    after_batch: Callable[[int], None] = lambda count: None,
) -> None:
    """Run texts of any length through a causal model, in batches, the longest first: memory runs out at once or never.

    Texts of several lengths share a batch: a causal model does not see the padding behind a text.

    Args:
        run: (batch, width) ids -> (batch, width, …), such as logits or hidden states; one less where the last id is not read.
        measure: called for each text with its index, its rows of what `run` gave (tokens, …), and its ids (tokens,).
        before_batch, after_batch: called around each batch, the second with its number of texts.
    """
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    for start in range(0, len(order), batch_size):
        before_batch()
        part = order[start : start + batch_size]
        width = len(texts[part[0]])
        ids = torch.tensor([[*texts[i], *[0] * (width - len(texts[i]))] for i in part], device=device)
        found = run(ids)
        for row, i in enumerate(part):
            length = len(texts[i])
            measure(i, found[row, :length], ids[row, :length])
        after_batch(len(part))


def measure_rows(
    model: nn.Module,
    rows: torch.Tensor,
    batch_size: int,
    poll: Callable[[], None] = lambda: None,
    measures: Callable = position_measures,
    advance: Callable[[int], None] = lambda count: None,
) -> torch.Tensor:
    """(n, seq_len) ids -> (n, columns of `measures`) fp32 on the model's device: means over each row's predictions.

    The model is in eval mode meanwhile.

    Args:
        poll: called before each batch.
        measures: `position_measures`, or `position_losses` for the loss alone.
        advance: called with the number of rows that were measured.
    """
    measured: list = [None] * len(rows)
    training = model.training

    def measure(index: int, logits: torch.Tensor, ids: torch.Tensor) -> None:
        measured[index] = measures(logits[: len(ids) - 1], ids[1:]).mean(0)

    model.eval()
    try:
        forward_texts(
            _logits(model), rows.tolist(), batch_size, rows.device, measure, before_batch=poll, after_batch=advance
        )
    finally:
        model.train(training)
    return torch.stack(measured)


def measure_continuations(
    model: nn.Module,
    contexts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    batch_size: int = 8,
    advance: Callable[[int], None] = lambda count: None,
) -> list[np.ndarray]:
    """For each text the measures at every token of its continuation: (tokens, 6) float64, columns MEASURES.

    Args:
        contexts: token ids before each continuation, at least one.
        batch_size: texts in a forward pass.
        advance: called with the number of texts that were measured.
    """
    texts = [[*context, *continuation] for context, continuation in zip(contexts, continuations, strict=True)]
    measured: list = [None] * len(texts)
    device = next(model.parameters()).device

    def measure(index: int, logits: torch.Tensor, ids: torch.Tensor) -> None:
        first = len(contexts[index])
        measured[index] = position_measures(logits[first - 1 : len(ids) - 1], ids[first:]).double().cpu().numpy()

    with kept_memory(device):
        forward_texts(_logits(model), texts, batch_size, device, measure, after_batch=advance)
    return measured


def _logits(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    window = window_of(getattr(model, "module", model).config)
    return lambda ids: model(input_ids=ids[:, :window], use_cache=False).logits

"""What a model says of given texts: loss, entropy, mass of the likeliest tokens, accuracy, in one forward pass."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..host_memory import kept_memory

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


@torch.inference_mode()
def measure_continuations(
    model: nn.Module,
    contexts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    batch_size: int = 8,
    advance: Callable[[int], None] = lambda count: None,
) -> list[np.ndarray]:
    """For each text the measures at every token of its continuation: (tokens, 6) float64, columns MEASURES.

    Texts of several lengths share a batch: a causal model does not see the padding behind a text.

    Args:
        contexts: token ids before each continuation, at least one.
        batch_size: texts in a forward pass.
        advance: called with the number of texts that were measured.
    """
    texts = [[*context, *continuation] for context, continuation in zip(contexts, continuations, strict=True)]
    order = sorted(
        range(len(texts)), key=lambda i: -len(texts[i])
    )  # the longest first: memory runs out at once or never
    measured: list = [None] * len(texts)
    device = next(model.parameters()).device
    with kept_memory(device):
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            width = len(texts[part[0]])
            ids = torch.tensor([texts[i] + [0] * (width - len(texts[i])) for i in part], device=device)
            logits = model(input_ids=ids, use_cache=False).logits
            for row, i in enumerate(part):
                first, last = len(contexts[i]), len(texts[i])
                measures = position_measures(logits[row, first - 1 : last - 1], ids[row, first:last])
                measured[i] = measures.double().cpu().numpy()
            advance(len(part))
    return measured

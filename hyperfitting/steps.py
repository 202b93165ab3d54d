"""Pieces of a training step: which rows, which loss, and how the host learns of it without making the device wait."""

from collections.abc import Iterator

import torch
from torch.nn import functional


def epoch_order(rows: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the rows in an epoch: (rows,) int64, a function of its arguments alone, so that a resumed run and any
    number of processes see the same batches."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed((seed << 20) + epoch))


def next_token_loss(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """(rows, seq_len, vocabulary) logits, (rows, seq_len) ids -> fp32 sum of -log p over the predicted tokens, nats."""
    return functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")


class LateReader:
    """Small results of steps, copied off the device without waiting for it."""

    def __init__(self, device: torch.device):
        self.device, self.waiting = device, []

    def put(self, step: int, values: torch.Tensor) -> None:
        """Take the result of a step, a tensor on the device that may still be computing."""
        event = None
        if self.device.type == "cuda":
            pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            values = pinned.copy_(values, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self.waiting.append((step, values, event))

    def take(self, keep: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield (step, values on the CPU) of all but the newest `keep` results, waiting for those alone."""
        while len(self.waiting) > keep:
            step, values, event = self.waiting.pop(0)
            if event is not None:
                event.synchronize()
            yield step, values.cpu()

"""Pieces of a training step: which rows, which loss, and how the host learns of it without making the device wait."""

from collections.abc import Iterator

import torch


def epoch_order(rows: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the rows in an epoch: (rows,) int64, a function of its arguments alone, so that a resumed run and any
    number of processes see the same batches."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed((seed << 20) + epoch))


def next_token_loss(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """(rows, read, vocabulary) logits, (rows, seq_len) ids -> fp32 sum of -log p over the predicted tokens, nats.

    `read` is seq_len, or one less where the last token of a row is predicted and not read.
    fp32 logits are overwritten, and `backward` can be called once: see `_CrossEntropyInPlace`.
    """
    return _CrossEntropyInPlace.apply(logits.float(), ids)


class _CrossEntropyInPlace(torch.autograd.Function):
    """Turns the logits into log-probabilities, and those into the gradient, in the memory of the logits themselves.

    The logits are the largest tensor of a step. `functional.cross_entropy` over all positions but the last makes five
    more of that size: the positions copied, the log-probabilities, the gradient of each, and zeros to put it into.
    """

    @staticmethod
    def forward(ctx, logits, ids):
        torch.log_softmax(logits, -1, out=logits)
        ctx.save_for_backward(logits, ids)
        targets = ids[:, 1:, None]
        return -logits[:, : targets.shape[1]].gather(-1, targets).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, scale):
        log_p, ids = ctx.saved_tensors
        gradient = log_p.detach().exp_()
        targets = ids[:, 1:, None]
        predicting = gradient[:, : targets.shape[1]]
        predicting.scatter_add_(-1, targets, gradient.new_full((), -1.0).expand_as(targets))
        gradient[:, targets.shape[1] :] = 0  # predicts nothing in the row
        return gradient.mul_(scale), None


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

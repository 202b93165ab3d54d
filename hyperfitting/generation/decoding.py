"""The decode loop: prefill once, then one token a step for the whole batch, arg-max of what the processors leave.

What gives the next logits is an engine, see engines.py.
"""

from collections.abc import Callable, Sequence

import torch

from ..errors import TrainingError


@torch.inference_mode()
def decode(
    decoder,
    contexts: torch.Tensor,
    max_length: int,
    processors: Sequence,
    ends: Sequence[int],
    advance: Callable[[int], None] = lambda count: None,
) -> torch.Tensor:
    """Continue a batch of contexts of one length.

    Args:
        contexts: (batch, context_len) int64.
        processors: called in order with (ids so far, fp32 scores); the arg-max of the last is the next token.
        ends: ids that finish a text. Forbid them with a processor to keep every text at full length.
        advance: called after each position with the number of tokens made there.

    Returns:
        (batch, max_length) int64 with the context; what follows a first end is undefined, see `cut_at_end`.

    Raises:
        TrainingError: logits that are not finite.
    """
    contexts = contexts.to(decoder.device)
    batch, context_len = contexts.shape
    ids = torch.empty((batch, max_length), dtype=torch.int64, device=decoder.device)
    ids[:, :context_len] = contexts
    ending = torch.tensor(sorted(ends), dtype=torch.int64, device=decoder.device)
    finished = torch.zeros(batch, dtype=torch.bool, device=decoder.device)
    finite = ~finished
    decoder.start(batch, max_length)
    logits = decoder.next_logits(ids[:, :context_len], 0)
    for position in range(context_len, max_length):
        scores = logits.float()
        for process in processors:
            scores = process(ids[:, :position], scores)
        chosen = _argmax(scores)  # NaN counts as the largest
        finite &= scores.gather(1, chosen).isfinite()[:, 0]
        ids[:, position] = chosen[:, 0]
        advance(batch)
        if position == max_length - 1:
            break
        finished |= torch.isin(ids[:, position], ending)
        if (position - context_len) % 16 == 15 and finished.all():  # asking every step would make the device wait
            break
        logits = decoder.next_logits(ids[:, position : position + 1], position)
    if not finite.all():
        raise TrainingError(
            f"its logits are not finite for {int((~finite).sum())} of {batch} texts: its weights are damaged, or too large for "
            "the dtype that it computes in"
        )
    return ids


def cut_at_end(continuation: list[int], ends: Sequence[int]) -> tuple[list[int], str]:
    """A continuation up to its first end, without it, and the finish reason: eos or length."""
    for index, token in enumerate(continuation):
        if token in ends:
            return continuation[:index], "eos"
    return continuation, "length"


def _argmax(scores: torch.Tensor) -> torch.Tensor:
    """(batch, vocabulary) -> (batch, 1) index of the first largest. First the block, then the place in it: a CPU finds maxima
    with vector instructions, and their places without."""
    size = scores.shape[-1]
    width = max(width for width in range(1, 257) if size % width == 0)
    blocks = scores.unflatten(-1, (-1, width))
    block = blocks.amax(-1).argmax(-1, keepdim=True)
    chosen = blocks.gather(1, block[..., None].expand(-1, -1, width))[:, 0]
    return block * width + chosen.argmax(-1, keepdim=True)

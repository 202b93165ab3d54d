"""What a forward and backward pass holds in memory, counted by running the model on tensors without storage."""

import logging
import weakref
from dataclasses import astuple, dataclass

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..models import causal_lm, disable_dropout, window_of
from ..training.chunked_loss import chunked_loss, saves_memory
from ..training.steps import next_token_loss


@dataclass(frozen=True)
class PassMemory:
    """Peaks of one pass, in bytes.

    Attributes:
        activations: without weights, their gradients and the bf16 copies of them that autocast makes.
        everything: with those gradients and copies. Less than the sum of their peaks: when gradients come, activations go.
    """

    activations: int
    everything: int

    def between(self, other: "PassMemory", share: float) -> "PassMemory":
        """On the line from this one to `other`. Activations grow so with the rows, `everything` at most so."""
        activations, everything = (
            round(a + share * (b - a)) for a, b in zip(astuple(self), astuple(other), strict=True)
        )
        return PassMemory(activations, everything)


def pass_memory(
    config, rows: int, seq_len: int, bf16: bool, gradient_checkpointing: bool, trust_remote_code: bool = False
) -> PassMemory | None:
    """Count a pass of (rows, seq_len) ids through the model of `config`, with next_token_loss as in training.

    No weights are made. Buffers of kernels, of collectives and of the allocator are not in it. None for a model that
    cannot be run without data, as some mixtures of experts.
    """
    logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)  # it logs what is caught below
    try:
        with FakeTensorMode():
            model = causal_lm().from_config(config, dtype=torch.float32, trust_remote_code=trust_remote_code).train()
            disable_dropout(model)
            if gradient_checkpointing:
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            return _count(model, torch.zeros(rows, seq_len, dtype=torch.int64), bf16)
    except Exception:  # whatever a model does that needs data, or kernels that fake tensors do not know
        return None


def _count(model, ids: torch.Tensor, bf16: bool) -> PassMemory:
    weights = list(model.parameters())
    with _Ledger(weights) as ledger:

        def logits_of(ids: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return model(input_ids=ids[:, : window_of(model.config)], use_cache=False).logits

        _loss(logits_of, model.get_output_embeddings(), ids).backward()
    gradients = {ledger.names[_key(weight.grad)] for weight in weights if weight.grad is not None}
    return PassMemory(ledger.peak(without=gradients | ledger.copies), ledger.peak())


def _loss(logits_of, layer, ids: torch.Tensor) -> torch.Tensor:
    """As `choose_loss` chooses where there are weights to ask."""
    if saves_memory(layer, ids.shape[0] * (ids.shape[1] - 1)):
        return chunked_loss(logits_of, layer, ids)
    return next_token_loss(logits_of(ids), ids)


class _Ledger(TorchDispatchMode):
    """Notes when each storage is made and freed; those of `weights` are left out."""

    def __init__(self, weights: list[torch.Tensor]):
        super().__init__()
        self.weights = {_key(weight) for weight in weights}
        self.names: dict[int, int] = {}  # storage -> its number; addresses of storages come again, numbers do not
        self.copies: set[int] = set()  # numbers of what was cast from a weight
        self.entries: list[tuple[int, int]] = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and _key(tensor) not in self.weights and _key(tensor) not in self.names:
                number = self._enter(tensor.untyped_storage())
                if operation is torch.ops.aten._to_copy.default and _key(args[0]) in self.weights:
                    self.copies.add(number)
        return result

    def _enter(self, storage: torch.UntypedStorage) -> int:
        key, number, size = storage._cdata, len(self.entries), storage.nbytes()
        self.names[key] = number
        self.entries.append((number, size))
        weakref.finalize(storage, self._leave, key, number, size)
        return number

    def _leave(self, key: int, number: int, size: int) -> None:
        del self.names[key]
        self.entries.append((number, -size))

    def peak(self, without: set[int] = frozenset()) -> int:
        """The most bytes that were there at once."""
        highest = now = 0
        for number, size in self.entries:
            if number not in without:
                now += size
                highest = max(highest, now)
        return highest


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata

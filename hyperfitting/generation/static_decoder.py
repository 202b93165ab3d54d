"""The engine for every family: the model's own forward, with what makes a step fast put in for the time of a call.

The cache is allocated once, attention over it copies nothing, projections of one input are one matrix product, RMS norms
are one call, and the head is taken in blocks. Whether all of that serves a model is found by comparing logits, see engines.py.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .llama_decoder import in_blocks, joined

ATTENTION = "hyperfitting_static"  # transformers makes no masks for an attention that it does not know
FUSED_TOGETHER = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")


class StaticLayer(DynamicLayer):
    """Keys and values (batch, groups, max_length, width) of one layer, written in place; what it returns are views of what is full."""

    def __init__(self):
        super().__init__()
        self.end, self.max_length = 0, 0

    def start(self, max_length: int) -> None:
        """Forget what it holds; the memory stays for a batch of the same shape."""
        self.end, self.max_length = 0, max_length

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """(batch, groups, n, width) of the next n positions -> all keys and values so far."""
        start, self.end = self.end, self.end + key_states.shape[2]
        self.keys = self._room(self.keys, key_states)
        self.values = self._room(self.values, value_states)
        self.keys[:, :, start : self.end] = key_states
        self.values[:, :, start : self.end] = value_states
        return self.keys[:, :, : self.end], self.values[:, :, : self.end]

    def get_seq_length(self) -> int:
        return self.end

    def _room(self, held: torch.Tensor | None, states: torch.Tensor) -> torch.Tensor:
        shape = (*states.shape[:2], self.max_length, states.shape[-1])
        return held if held is not None and held.shape == shape else states.new_empty(shape)


class StaticDecoder:
    """Next-token logits of a transformers causal LM in evaluation mode.

    Projections that read the same input become one weight, theirs views of it: no memory is used twice, and the model still works;
    but an optimizer that holds the old weights would update nothing.

    Args:
        layers: what transformers would keep of the model's layers.
    """

    def __init__(self, model: nn.Module, layers: Sequence[DynamicLayer]):
        self.model, self.device = model, model.device
        self.windows = [getattr(layer, "sliding_window", None) for layer in layers]
        self.cache = Cache(layers=[StaticLayer() for _ in layers])
        self.forwards: list[tuple[dict, Callable]] = []  # (a module's own attributes, its forward in a call)
        for module in model.modules():
            for names in FUSED_TOGETHER:
                self._fuse([getattr(module, name, None) for name in names])
            if not _is_hooked(module) and (norm := fast_norm(module)) is not None:
                self.forwards.append((vars(module), norm))
        head = model.get_output_embeddings()
        if type(head) is nn.Linear and head.bias is None and head.weight.device.type == "cpu" and not _is_hooked(head):
            self.forwards.append((vars(head), lambda x: in_blocks(head, x)))

    @classmethod
    def of(cls, model: nn.Module) -> "StaticDecoder | None":
        """The engine of a model all of whose layers keep keys and values; None for other models."""
        layers = DynamicCache(config=model.config).layers
        if not layers or any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
            return None  # recurrent states, chunks, compressed keys
        return cls(model, layers)

    def start(self, batch: int, max_length: int) -> None:
        """Forget the last batch; its memory is used again when this one has the same shape."""
        for layer in self.cache.layers:
            layer.start(max_length)

    def next_logits(self, ids: torch.Tensor, position: int) -> torch.Tensor:
        """(batch, n) ids that stand at `position` and after -> (batch, vocabulary) logits of what follows the last."""
        with self._put_in():
            out = self.model(input_ids=ids, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        return out.logits[:, -1]

    @contextlib.contextmanager
    def _put_in(self) -> Iterator[None]:
        """Inside, the model attends through `_attend`, and modules have their fast forwards."""
        config = self.model.config
        own = config._attn_implementation
        ALL_ATTENTION_FUNCTIONS.register(ATTENTION, self._attend)
        config._attn_implementation = ATTENTION
        for attributes, forward in self.forwards:
            attributes["forward"] = forward
        try:
            yield
        finally:
            config._attn_implementation = own
            for attributes, _ in self.forwards:
                del attributes["forward"]

    def _attend(self, module, query, key, value, attention_mask, scaling=None, sliding_window=None, **others):
        """Attention as transformers asks for it: (batch, heads, n, width) queries, keys and values of (batch, groups, length,
        width) -> ((batch, n, heads, width), None)."""
        if attention_mask is not None or any(
            others.get(name) is not None for name in ("softcap", "s_aux", "position_bias")
        ):
            raise NotImplementedError("a model with masks, caps, sinks or biases of its own")
        if sliding_window != self.windows[module.layer_idx]:
            raise NotImplementedError("a layer that is not told the window that its config names")
        batch, heads, n, _ = query.shape
        groups, length = key.shape[1:3]
        attend = functional.scaled_dot_product_attention
        if n == 1:
            if sliding_window is not None and sliding_window < length:
                key, value = key[:, :, -sliding_window:], value[:, :, -sliding_window:]
            # the queries that share a key stand in for a sequence: no key is copied per head
            mixed = attend(query.reshape(batch, groups, heads // groups, -1), key, value, scale=scaling)
            return mixed.reshape(batch, 1, heads, -1), None
        mask = None
        if sliding_window is not None and sliding_window < length:
            ages = torch.arange(n, device=query.device)
            ages = ages[:, None] - ages
            mask = (ages >= 0) & (ages < sliding_window)
        mixed = attend(query, key, value, mask, is_causal=mask is None, scale=scaling, enable_gqa=heads != groups)
        return mixed.transpose(1, 2), None

    def _fuse(self, projections: list[nn.Module | None]) -> None:
        """One product for linear layers of the same input: the first computes it, the others hand out their part."""
        if not all(type(projection) is nn.Linear and not _is_hooked(projection) for projection in projections):
            return
        weights = [projection.weight for projection in projections]
        biases = [projection.bias for projection in projections if projection.bias is not None]
        alike = {(weight.dtype, weight.device, weight.shape[1]) for weight in weights}
        if len(alike) > 1 or len(biases) not in (0, len(weights)):
            return
        sizes = [len(weight) for weight in weights]
        weight, bias = joined(weights), joined(biases) if biases else None
        parts: list[torch.Tensor] = []

        def first(x: torch.Tensor) -> torch.Tensor:
            parts[:] = functional.linear(x, weight, bias).split(sizes, -1)
            return parts[0]

        self.forwards.append((vars(projections[0]), first))
        for place, projection in enumerate(projections[1:], start=1):
            self.forwards.append((vars(projection), lambda x, place=place: parts[place]))


def _is_hooked(module: nn.Module) -> bool:
    """Whether someone else gave it another forward, as Accelerate does to move inputs between GPUs: it stays as it is."""
    return "forward" in vars(module)


def fast_norm(module: nn.Module) -> Callable | None:
    """`torch.rms_norm` in place of a module that is named a RMSNorm, with its weight or (Gemma) 1 + it, whichever gives what the
    module gives; None where neither does."""
    weight = getattr(module, "weight", None)
    if "RMSNorm" not in type(module).__name__ or weight is None or weight.ndim != 1:
        return None
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    x = torch.linspace(-1, 1, 2 * len(weight), dtype=weight.dtype, device=weight.device).sin().view(2, -1)
    expected, near = module(x), 1e-5 if weight.dtype == torch.float32 else 2e-2
    for scale in (weight, 1 + weight.float()):
        scale = scale.detach().to(weight.dtype)
        if torch.allclose(functional.rms_norm(x, scale.shape, scale, eps), expected, atol=near, rtol=near):
            return lambda x: functional.rms_norm(x, scale.shape, scale, eps)
    return None

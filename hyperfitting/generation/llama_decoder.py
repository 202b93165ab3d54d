"""The engine for Llama models, and what it shares with the engine for other families."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


class LlamaDecoder:
    """Next-token logits of a `LlamaForCausalLM`.

    The fused weights replace the model's own, which become views of them: no memory is used twice, and the model still works.
    """

    def __init__(self, model: nn.Module):
        config = model.config
        self.device, self.dtype = model.device, model.dtype
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps, self.model = config.rms_norm_eps, model
        self.layers = []
        for layer in model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            qkv = joined([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
            gate_up = joined([mlp.gate_proj.weight, mlp.up_proj.weight])
            norms = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
            self.layers.append((norms[0], qkv, attention.o_proj.weight, norms[1], gate_up, mlp.down_proj.weight))

    @classmethod
    def of(cls, model: nn.Module) -> "LlamaDecoder | None":
        """The engine of a plain Llama on one device, with rotations that do not depend on the length; None for other models."""
        config = model.config
        supported = (
            type(model).__name__ == "LlamaForCausalLM"
            and config.hidden_act == "silu"
            and not (config.attention_bias or config.mlp_bias)
            and getattr(model.model.rotary_emb, "rope_type", "default") in ("default", "linear", "llama3")
            and len({parameter.device for parameter in model.parameters()}) == 1
        )
        return cls(model) if supported else None

    def start(self, batch: int, max_length: int) -> None:
        """Allocate the cache of a batch, or reuse the last one if it has the same shape."""
        shape = batch, self.groups, max_length, self.head_dim
        if getattr(self, "cache_shape", None) != shape:
            self.cache = self.cache_shape = None  # or the old one would still be there when the new one is made
            like = dict(dtype=self.dtype, device=self.device)
            self.cache = [(torch.empty(shape, **like), torch.empty(shape, **like)) for _ in self.layers]
            self.cache_shape = shape
            positions = torch.arange(max_length, device=self.device)[None]
            cos, sin = self.model.model.rotary_emb(torch.empty(1, **like), positions)
            half = self.head_dim // 2
            self.cos, self.sin = cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)

    def next_logits(self, ids: torch.Tensor, position: int) -> torch.Tensor:
        """(batch, n) ids that stand at `position` and after -> (batch, vocabulary) logits of what follows the last."""
        batch, n = ids.shape
        end, half = position + n, self.head_dim // 2
        cos, sin = self.cos[position:end, None], self.sin[position:end, None]
        width, turned = self.heads * self.head_dim, self.heads + self.groups
        x = self.model.model.embed_tokens(ids)
        shape = (x.shape[-1],)
        for (norm, qkv, out, norm_mlp, gate_up, down), (keys, values) in zip(self.layers, self.cache, strict=True):
            heads = functional.linear(functional.rms_norm(x, shape, norm, self.eps), qkv)
            heads = heads.view(batch, n, turned + self.groups, self.head_dim)
            rotated = heads[:, :, :turned]  # queries and keys turn together
            rotated = rotated * cos + torch.roll(rotated, half, -1) * sin
            keys[:, :, position:end] = rotated[:, :, self.heads :].transpose(1, 2)
            values[:, :, position:end] = heads[:, :, turned:].transpose(1, 2)
            past = keys[:, :, :end], values[:, :, :end]
            if n == 1:  # the queries that share a key stand in for a sequence: no key is copied per head
                queries = rotated[:, 0, : self.heads].view(batch, self.groups, -1, self.head_dim)
                mixed = functional.scaled_dot_product_attention(queries, *past).reshape(batch, 1, width)
            else:
                queries = rotated[:, :, : self.heads].transpose(1, 2)
                mixed = functional.scaled_dot_product_attention(
                    queries, *past, is_causal=True, enable_gqa=self.heads != self.groups
                )
                mixed = mixed.transpose(1, 2).reshape(batch, n, width)
            x = x + functional.linear(mixed, out)
            gate, up = functional.linear(functional.rms_norm(x, shape, norm_mlp, self.eps), gate_up).chunk(2, dim=-1)
            x = x + functional.linear(functional.silu(gate) * up, down)
        final, head = self.model.model.norm, self.model.lm_head
        return in_blocks(head, functional.rms_norm(x[:, -1], shape, final.weight, self.eps))


HEAD_BLOCK = (
    2048  # rows of a head that one product reads: its part of the weight and of the logits stays in the CPU's cache
)


def in_blocks(head: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """`head(x)` for x (…, hidden). A CPU's matrix product is slower, by up to a third, where the vocabulary is one block."""
    if x.device.type != "cpu" or head.bias is not None:
        return head(x)
    rows = x.flatten(0, -2)
    logits = rows.new_empty(len(rows), len(head.weight))
    for weight, part in zip(head.weight.split(HEAD_BLOCK), logits.split(HEAD_BLOCK, -1), strict=True):
        torch.mm(rows, weight.t(), out=part)
    return logits.view(*x.shape[:-1], -1)


def joined(parameters: Sequence[nn.Parameter]) -> torch.Tensor:
    """One tensor of several, along their first dimension; they become views of it."""
    whole = torch.cat([parameter.data for parameter in parameters])
    for parameter, part in zip(parameters, whole.split([len(parameter) for parameter in parameters]), strict=True):
        parameter.data = part
    return whole

"""Why a conversion is another model: each likely mistake is made on purpose, and what it would predict is compared."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

DEFAULT_THETA = 10_000.0  # what readers take that find no rotary base
LOW_PRECISIONS = (6, 5, 4, 3, 2)  # bits a weight
NEAR = 0.05  # shares of equal predictions that count as the same
TOO_COARSE = "its precision is too low"
BLOCK = 32  # weights that share a scale, as in GGUF


@dataclass(frozen=True)
class Mistake:
    """What may have gone wrong in a conversion, and a config that makes the same mistake."""

    cause: str
    config: object


def likely_mistakes(config) -> Iterator[Mistake]:
    """The mistakes that a model of this config can suffer, the commonest first."""
    rope = getattr(config, "rope_parameters", None) or {}
    parts = {kind: part for kind, part in rope.items() if isinstance(part, dict)} or {"": rope}
    other_base = {kind: part.get("rope_theta") not in (None, DEFAULT_THETA) for kind, part in parts.items()}
    scaled = {kind: part.get("rope_type", "default") != "default" for kind, part in parts.items()}
    if any(other_base.values()):
        bases = sorted({part["rope_theta"] for kind, part in parts.items() if other_base[kind]})
        named = " and ".join(f"{base:g}" for base in bases)
        yield Mistake(
            f"the rotary base was lost: {DEFAULT_THETA:g} instead of {named}", _changed(config, theta=DEFAULT_THETA)
        )
    if any(scaled.values()):
        names = ", ".join(sorted({part["rope_type"] for kind, part in parts.items() if scaled[kind]}))
        yield Mistake(f"the scaling of positions ({names}) was dropped", _changed(config, scaling=False))
    if any(other_base.values()) and any(scaled.values()):
        cause = "the rotary base and the scaling of positions were lost"
        yield Mistake(cause, _changed(config, theta=DEFAULT_THETA, scaling=False))


def _changed(config, theta: float | None = None, scaling: bool = True):
    """A copy of a config with another rotary base for all layers, or without scaling."""
    changed = copy.deepcopy(config)

    def of(part: dict) -> dict:
        kept = part if scaling else {"rope_type": "default", "rope_theta": part["rope_theta"]}
        return {**kept, **({} if theta is None else {"rope_theta": theta})}

    rope = changed.rope_parameters
    nested = any(isinstance(part, dict) for part in rope.values())
    changed.rope_parameters = {kind: of(part) for kind, part in rope.items()} if nested else of(rope)
    return changed


@torch.no_grad()
def copy_of(model: nn.Module, config=None, bits: int | None = None) -> nn.Module:
    """A copy of a model under another config, or with its matrices `rounded` to so many bits."""
    spoilt = type(model)(config or model.config)
    spoilt.load_state_dict(model.state_dict())
    spoilt.to(model.device, model.dtype).eval()
    for module in spoilt.modules():
        if bits and isinstance(module, nn.Linear | nn.Embedding):
            module.weight.copy_(rounded(module.weight, bits))
    return spoilt


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """A matrix rounded to 2^bits evenly spaced values for each BLOCK weights of a row, from their least to their largest."""
    padding = -weight.shape[-1] % BLOCK
    blocks = functional.pad(weight, (0, padding)).unflatten(-1, (-1, BLOCK))
    low, high = blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True)
    step = ((high - low) / (2**bits - 1)).clamp(min=torch.finfo(weight.dtype).tiny)
    return (((blocks - low) / step).round() * step + low).flatten(-2)[..., : weight.shape[-1]]


def find_cause(
    model: nn.Module, expected: np.ndarray, converted: np.ndarray, predict: Callable[[nn.Module], np.ndarray]
) -> str | None:
    """The likeliest reason why a conversion predicts other tokens; None where nothing that is tried explains it.

    A lost setting is the cause where a copy of the model that lost it is at least half-way nearer to the conversion than the
    model is. Otherwise the precision is, where rounding the model's own weights changes as many predictions.

    Args:
        expected, converted: (positions,) arg-max of the model and of the conversion.
        predict: the same of another model.
    """
    share = float((expected == converted).mean())
    near = {
        mistake.cause: float((predict(copy_of(model, mistake.config)) == converted).mean())
        for mistake in likely_mistakes(model.config)
    }
    best = max(near, key=near.get, default=None)
    if best is not None and 1 - near[best] <= 0.5 * (1 - share):
        return best
    for bits in LOW_PRECISIONS:
        alike = float((predict(copy_of(model, bits=bits)) == expected).mean())
        if alike <= share + NEAR:
            return f"{TOO_COARSE}: it differs as weights rounded to {bits} bits do ({alike:.3f})"
    return None

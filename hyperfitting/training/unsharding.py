"""The full weights of a model in training, however they are sharded, in a plain model."""

import torch
from torch import nn

from .launching import no_sharding_at_load


@torch.no_grad()
def unsharded_copy(model: nn.Module, model_class: type, dtype: torch.dtype, device, here: bool) -> nn.Module | None:
    """A plain `model_class` with the full, updated weights; every rank must call it, one tensor is whole at a time.

    The source is what the optimizer updates: the fp32 masters under DeepSpeed, the parameters elsewhere.

    Args:
        model: the unwrapped model whose parameters may be shards.
        here: whether this rank keeps the copy; the others return None.
    """
    copy = _empty_model(model_class, model.config, dtype, device) if here else None
    if here:
        copy.generation_config = model.generation_config  # its end ids need not be those of the config
    targets = {**dict(copy.named_parameters()), **dict(copy.named_buffers())} if here else {}
    for name, parameter in model.named_parameters():
        full = _full_tensor(parameter)
        if here:
            targets[name].copy_(full)
        del full
    for name, buffer in model.named_buffers():  # on every rank alike
        if here and name in targets:
            targets[name].copy_(buffer)
    return copy


def _full_tensor(parameter: torch.Tensor) -> torch.Tensor:
    if hasattr(parameter, "ds_id") and not parameter.requires_grad:  # no optimizer has it
        from deepspeed import zero

        with zero.GatheredParameters([parameter]):
            return parameter.detach().clone()
    if hasattr(parameter, "ds_id") or hasattr(parameter, "_hp_mapping"):
        from deepspeed.utils import safe_get_full_fp32_param

        return safe_get_full_fp32_param(parameter)
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter


def _empty_model(model_class: type, config, dtype: torch.dtype, device) -> nn.Module:
    """A model with uninitialised weights and buffers, built on the meta device so that nothing is computed for it."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        # A model for text and images builds its parts by from_config, which under ZeRO-3 would make shards of them, with every rank.
        with torch.device("meta"), no_sharding_at_load():
            model = model_class(config)
    finally:
        torch.set_default_dtype(default)
    model.to_empty(device=device)
    model.tie_weights()
    return model.eval()

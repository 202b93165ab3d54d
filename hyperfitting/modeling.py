"""Loading a causal LM for full-parameter training, and writing or using its full weights however they are sharded."""

from pathlib import Path

import torch
from torch import nn

from .builtin import resolve
from .errors import UserError
from .precision import disable_dropout
from .recipe import Recipe

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_config(recipe: Recipe):
    """The transformers config of `recipe.model`, alone: no weights are read.

    Raises:
        UserError: when the model does not exist, is not readable, or its window is below seq_len.
    """
    from transformers import AutoConfig

    if recipe.model is None:
        raise UserError("no model: give --model a Hub id or a local folder")
    config = _from_pretrained(AutoConfig, recipe.model, recipe)
    check_window(config, recipe)
    return config


def check_window(config, recipe: Recipe) -> None:
    """Raise UserError when rows or probe continuations are longer than the model's window."""
    window = getattr(config, "max_position_embeddings", None)
    longest = max(recipe.seq_len, recipe.probe_max_length if recipe.probe_contexts else 0)
    if window is not None and longest > window:
        raise UserError(
            f"seq_len {recipe.seq_len} and probe_max_length {recipe.probe_max_length} must fit the model's window of "
            f"{window} tokens: lower --seq_len or --probe_max_length"
        )


def load_tokenizer(recipe: Recipe):
    """The tokenizer of `recipe`, by default the model's own."""
    from transformers import AutoTokenizer

    return _from_pretrained(AutoTokenizer, recipe.tokenizer or recipe.model, recipe)


def load_model(recipe: Recipe, config) -> nn.Module:
    """The model of `recipe` in fp32 with every dropout off; under ZeRO-3 it is sharded while it loads, so the
    Accelerator must exist before.

    Raises:
        UserError: when there are no safetensors weights or they cannot be read.
    """
    from transformers import AutoModelForCausalLM

    model = _from_pretrained(
        AutoModelForCausalLM, recipe.model, recipe, config=config, dtype=torch.float32, use_safetensors=True
    )
    disable_dropout(model)
    return model


def _from_pretrained(auto_class, name: str, recipe: Recipe, **arguments):
    try:
        return auto_class.from_pretrained(
            resolve(name), revision=recipe.revision, trust_remote_code=recipe.trust_remote_code, **arguments
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:400]
        raise UserError(
            f"{name!r} cannot be loaded: give --model a local folder, or a Hub id that this machine can reach ({reason})"
        ) from error


def source_dtype(config) -> torch.dtype:
    """The dtype in which the source checkpoint is stored, as its config says; fp32 when it does not say."""
    dtype = getattr(config, "dtype", None) or torch.float32
    return DTYPES.get(str(dtype).removeprefix("torch."), torch.float32)


def end_ids(model: nn.Module, tokenizer) -> set[int]:
    """The ids that end a text, of the model's generation config and of the tokenizer."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    ends = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
    return {end for end in ends if end is not None}


def count_parameters(model: nn.Module) -> int:
    """Parameters of the whole model, tied ones once, however it is sharded."""
    return sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters())


@torch.no_grad()
def unsharded_copy(model: nn.Module, model_class: type, dtype: torch.dtype, device, here: bool) -> nn.Module | None:
    """A plain `model_class` with the full, updated weights; every rank must call it, one tensor is whole at a time.

    The source is what the optimizer updates: the fp32 masters under DeepSpeed, the parameters elsewhere.

    Args:
        model: the unwrapped model whose parameters may be shards.
        here: whether this rank keeps the copy; the others return None.
    """
    copy = _empty_model(model_class, model.config, dtype, device) if here else None
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
    if hasattr(parameter, "ds_id") or hasattr(parameter, "_hp_mapping"):
        from deepspeed.utils import safe_get_full_fp32_param

        return safe_get_full_fp32_param(parameter)
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter


def _empty_model(model_class: type, config, dtype: torch.dtype, device) -> nn.Module:
    """A model with uninitialised weights and buffers, built on the meta device so that nothing is computed for it."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            model = model_class(config)
    finally:
        torch.set_default_dtype(default)
    model.to_empty(device=device)
    model.tie_weights()
    return model.eval()


def save_pretrained(model: nn.Module, tokenizer, folder: Path) -> None:
    """Write a normal transformers folder: safetensors shards, tokenizer, and a generation config that leaves sampling
    off, because a left-over temperature or top_k would change what every later decoding rule means."""
    from transformers import GenerationConfig

    old = model.generation_config
    model.generation_config = GenerationConfig(
        bos_token_id=old.bos_token_id, eos_token_id=old.eos_token_id, pad_token_id=old.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)

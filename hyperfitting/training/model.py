"""The model and the optimizer of a run, as they are before Accelerate wraps them."""

import torch
from torch import nn

from ..errors import UserError
from ..models import check_loads_again, check_no_dropout, check_ties, disable_dropout, find_unused, load_for_training
from . import precision
from .launching import strategy_of
from .recipe import Recipe


def load_model(recipe: Recipe, config, given: nn.Module | None) -> nn.Module:
    """The recipe's model, or the one that was given: fp32, without dropout, checkpointed and compiled as the recipe says.

    Raises:
        UserError: it cannot be loaded, or the given one is not fp32, or not what its config says.
    """
    if given is None:
        model = load_for_training(recipe.model, config, recipe.revision, recipe.trust_remote_code)
    else:
        model = given
        if getattr(model, "_hf_peft_config_loaded", False) or hasattr(model, "peft_config"):
            raise UserError(
                f"the model that was given ({type(model).__name__}) holds adapters, which final/ would not: give it without them, or what "
                "peft's merge_and_unload() makes of it"
            )
        precision.check_fp32_source(model)
        check_loads_again(model, recipe.model)
        check_ties(model, recipe.model)
        disable_dropout(model)
    check_no_dropout(model)
    if getattr(
        model, "_no_split_modules", None
    ):  # Accelerate's FSDP2 refuses names of classes that the model does not have
        present = {type(module).__name__ for module in model.modules()}
        model._no_split_modules = [name for name in model._no_split_modules if name in present]
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if recipe.torch_compile:
        model.compile()
    return model


def leave_unused_out(accelerator, model: nn.Module, row: torch.Tensor, name: str) -> str | None:
    """Freeze the parameters that get no gradient from text, for which DDP would wait; on every rank, before `prepare`.

    Args:
        row: (1, tokens) ids.

    Returns:
        A sentence on what was frozen, if anything was.

    Raises:
        UserError: nothing is left to train, or ranks would wait for each other where the tokens of a row choose its modules.
    """
    from accelerate.utils import broadcast_object_list

    sharded = any(hasattr(parameter, "ds_id") for parameter in model.parameters())
    by_fsdp = strategy_of(accelerator) == "fsdp"
    found = [set(), set()]
    if sharded or accelerator.is_main_process:  # under FSDP2 the others may hold no weights
        if not sharded and not by_fsdp:  # which may have no room for it
            model.to(accelerator.device)  # where `prepare` puts it
        try:
            found = list(find_unused(model, row.to(next(model.parameters()).device)))
        except Exception:  # such as a kernel for GPUs, while the model is on the CPU
            if not by_fsdp:  # which can do without the answer
                raise
    if accelerator.num_processes > 1:
        broadcast_object_list(found)
    unused, sometimes = found
    if sometimes and accelerator.num_processes > 1:
        plugin = accelerator.state.deepspeed_plugin
        if by_fsdp or (plugin and plugin.zero_stage == 3):
            raise UserError(
                f"{name!r} runs some modules for some tokens alone ({_parts(sometimes)}), and under ZeRO-3 and FSDP2 ranks would wait for "
                "each other there: use ddp, zero1 or zero2"
            )
        if accelerator.ddp_handler is not None:
            accelerator.ddp_handler.find_unused_parameters = True
    frozen = {key: parameter for key, parameter in model.named_parameters() if key in unused}
    if len(frozen) == len(list(model.parameters())):
        raise UserError(f"no parameter of {name!r} gets a gradient: set requires_grad of those that are to be trained")
    for parameter in frozen.values():
        parameter.requires_grad_(False)
    if not frozen:
        return None
    count = sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in frozen.values())
    return f"{count:,} parameters get no gradient from a training row and stay as they are: {_parts(unused)}"


def _parts(names: set[str]) -> str:
    """The first of the modules that hold these parameters, by the start of their names."""
    parts = sorted({".".join(name.split(".")[:2]) for name in names})
    return ", ".join(parts[:4]) + (", …" if len(parts) > 4 else "")


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW over all parameters that are trained, at the recipe's constant rate."""
    return torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        weight_decay=recipe.weight_decay,
        fused=True,
    )

"""The model and the optimizer of a run, as they are before Accelerate wraps them."""

import torch
from torch import nn

from ..models import check_no_dropout, check_ties, disable_dropout, load_for_training
from . import precision
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
        precision.check_fp32_source(model)
        check_ties(model, recipe.model)
        disable_dropout(model)
    check_no_dropout(model)
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if recipe.torch_compile:
        model.compile()
    return model


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW over all parameters, at the recipe's constant rate."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        weight_decay=recipe.weight_decay,
        fused=True,
    )

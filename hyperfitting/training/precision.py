"""What must be true of the numbers: fp32 weights and moments under the optimizer, no clipping.

bf16 weights at lr 1e-6 do not move (half a unit in the last place of 0.02 is 6e-5), and a bf16 second moment freezes at
beta2 = 0.999; so a run that would update anything but fp32 is refused. DeepSpeed and Accelerate clip gradients by
default; the recipe does not.
"""

import torch
from torch import nn

from ..errors import UserError


def configure_deepspeed(config: dict, micro: int, accumulation: int, on_cpu: bool) -> None:
    """Fill a DeepSpeed config in place: batch sizes, no clipping, fp32 accumulation of gradients.

    Raises:
        UserError: when the user's own config asks for clipping.
    """
    clipping = config.get("gradient_clipping", "auto")
    if clipping not in ("auto", None) and float(clipping) != 0:
        raise UserError(
            f"the DeepSpeed config clips gradients at {clipping}; hyperfitting does not clip: set it to 0 or leave it out"
        )
    config["gradient_clipping"] = 0.0  # left out, it would mean 1.0
    config["train_micro_batch_size_per_gpu"] = micro
    config["gradient_accumulation_steps"] = accumulation
    config["steps_per_print"] = 10**9
    if accumulation > 1:  # passes would be summed in bf16
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    if on_cpu:  # DeepSpeed's own CPU Adam would be compiled for two minutes at start
        config["zero_force_ds_cpu_optimizer"] = False


def check_fp32_source(model: nn.Module) -> None:
    """Refuse weights that are not fp32 before anything is prepared.

    Raises:
        UserError: pure bf16 or fp16 training would silently do nothing.
    """
    wrong = {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.dtype != torch.float32}
    if wrong:
        raise UserError(
            f"the model's weights are {' and '.join(sorted(wrong))}: at a learning rate near 1e-6 such weights never move. "
            "Load it with dtype=torch.float32, or call model.float(); --mixed_precision bf16 still computes in bf16"
        )


def optimizer_tensors(accelerator, optimizer) -> list[torch.Tensor]:
    """The tensors that the optimizer updates on this rank: fp32 masters under DeepSpeed, parameters elsewhere."""
    if _is_deepspeed(accelerator):
        inner = optimizer.optimizer
        for name in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups", "fp32_groups_flat_partition"):
            masters = getattr(inner, name, None)
            if masters:
                return list(masters)
        raise UserError(
            "DeepSpeed keeps no fp32 master weights under this config: leave its bf16 section to Accelerate"
        )
    return [p for group in optimizer.param_groups for p in group["params"]]


def _is_deepspeed(accelerator) -> bool:
    return accelerator.distributed_type.value == "DEEPSPEED"


def check_prepared(accelerator, model: nn.Module, optimizer, recipe) -> None:
    """Check, after `prepare`, what is effective: fp32 updates, recipe's rate and decay, no clipping, global batch.

    Raises:
        UserError: when the accelerate or DeepSpeed config changed one of them.
    """
    wrong = {str(t.dtype) for t in optimizer_tensors(accelerator, optimizer) if t.dtype != torch.float32}
    if wrong:
        raise UserError(f"the optimizer would update {', '.join(wrong)} weights; hyperfitting needs fp32 masters")
    for group in optimizer.param_groups:
        if group["lr"] != recipe.learning_rate or group["weight_decay"] != recipe.weight_decay:
            raise UserError(
                f"the optimizer runs at lr {group['lr']} and weight decay {group['weight_decay']}, not at the recipe's "
                f"{recipe.learning_rate} and {recipe.weight_decay}: remove `optimizer` and `scheduler` from the DeepSpeed config"
            )
    if _is_deepspeed(accelerator):
        clip = (model.gradient_clipping(), getattr(optimizer.optimizer, "clip_grad", 0.0))
        if any(clip):
            raise UserError(f"DeepSpeed would clip gradients at {max(clip)}; hyperfitting does not clip")
        assert model.train_batch_size() == recipe.global_batch_size


def check_moments(accelerator, optimizer) -> None:
    """Assert, after the first step, that Adam's moments are fp32 as well."""
    inner = optimizer.optimizer
    inner = getattr(inner, "optimizer", inner)  # DeepSpeed wraps the torch optimizer
    for state in inner.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            assert name not in state or state[name].dtype == torch.float32, f"{name} is {state[name].dtype}"


def skipped_steps(accelerator, model: nn.Module) -> int:
    """Optimizer steps that DeepSpeed left out since the start."""
    return getattr(model, "skipped_steps", 0) if _is_deepspeed(accelerator) else 0


@torch.no_grad()
def all_finite(model: nn.Module) -> bool:
    """Whether this rank's share of the weights is free of NaN and infinity."""
    for parameter in model.parameters():
        share = getattr(parameter, "ds_tensor", parameter)  # ZeRO-3 keeps its shard there
        share = share.to_local() if hasattr(share, "to_local") else share  # FSDP2
        if not torch.isfinite(share).all():
            return False
    return True

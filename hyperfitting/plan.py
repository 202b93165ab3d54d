"""What a run will cost, from the model's config alone: `--dry_run`.

Memory follows Rajbhandari et al., *ZeRO* (2020), section 3: model states only, to which activations and logits are
added by a rule of thumb. Times assume the rates below; they are there to compare layouts, not to promise seconds.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table

from .console import make_console
from .errors import UserError
from .launching import LaunchRequest, launch_request, read_accelerate_config
from .modeling import load_config
from .recipe import Recipe, RecipeError

GIB = 2**30
# One H100-class GPU: bf16 matrix rate reached in practice, all-reduce bandwidth in a machine and between machines.
ASSUMED_FLOPS, ASSUMED_LOCAL, ASSUMED_NETWORK, GPUS_PER_MACHINE = 4e14, 3e11, 4e10, 8
RANKS = (1, 2, 4, 8, 64)


@dataclass(frozen=True)
class ModelSize:
    """What the plan needs to know of a model; `parameters` counts tied weights once."""

    parameters: int
    layers: int
    hidden: int
    vocabulary: int

    @classmethod
    def of(cls, config) -> "ModelSize":
        """Counted on a model without storage, built from its config."""
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        text = config.get_text_config()
        return cls(
            sum(p.numel() for p in model.parameters()), text.num_hidden_layers, text.hidden_size, text.vocab_size
        )


@dataclass(frozen=True)
class Layout:
    """Who holds what. strategy: single, ddp, zero1, zero2, zero3, zero3_offload, fsdp2."""

    strategy: str
    ranks: int
    bf16: bool
    accumulation: int

    def state_bytes(self) -> tuple[float, float]:
        """Bytes per parameter on one rank's (GPU, CPU): weights, gradients, fp32 masters and Adam's two moments."""
        n = self.ranks
        if self.strategy in ("single", "ddp"):
            return (18.0 if self.bf16 else 16.0), 0.0  # 4 + 4 + 8, and autocast keeps bf16 copies of the weights
        if self.strategy == "fsdp2":
            return 16.0 / n, 0.0
        weight = 2 if self.bf16 else 4
        gradient = 4 if self.accumulation > 1 or not self.bf16 else 2
        masters_and_moments = 12
        if self.strategy == "zero1":
            return weight + gradient + masters_and_moments / n, 0.0
        if self.strategy == "zero2":
            return weight + (gradient + masters_and_moments) / n, 0.0
        if self.strategy == "zero3":
            return (weight + gradient + masters_and_moments) / n, 0.0
        return (weight + gradient) / n, masters_and_moments / n  # zero3_offload

    def communicated_bytes(self) -> float:
        """Bytes per parameter that one rank sends in a step: reduce-scatter of gradients, all-gather of weights."""
        size = 2 if self.bf16 else 4
        part = (self.ranks - 1) / self.ranks
        if self.strategy in ("single", "ddp"):
            return 2 * part * 4  # fp32 gradients
        if self.strategy in ("zero1", "zero2"):
            return 2 * part * size
        return 3 * part * size * self.accumulation  # weights are gathered for every forward and backward pass


def activation_bytes(size: ModelSize, recipe: Recipe, micro: int, bf16: bool) -> float:
    """Activations of one forward and backward pass (34 bytes x width x layer x token in bf16, Korthikanti et al. 2022
    without attention matrices; with gradient checkpointing only each layer's input) and three copies of the logits."""
    tokens = micro * recipe.seq_len
    width = 1 if bf16 else 2
    layers = size.layers * (2 if recipe.gradient_checkpointing else 34) + (34 if recipe.gradient_checkpointing else 0)
    return tokens * size.hidden * layers * width + tokens * size.vocabulary * 3 * 4


def step_flops(size: ModelSize, recipe: Recipe) -> float:
    """Floating-point operations of one optimizer step: 6 per parameter and token, and attention's 12 x layers x width x
    seq_len per token (Chowdhery et al. 2022, appendix B); a third more with gradient checkpointing."""
    tokens = recipe.global_batch_size * recipe.seq_len
    flops = tokens * (6 * size.parameters + 12 * size.layers * size.hidden * recipe.seq_len)
    return flops * (4 / 3 if recipe.gradient_checkpointing else 1)


def communication_share(size: ModelSize, recipe: Recipe, layout: Layout) -> float:
    """Time to communicate over time to compute, one step, at the assumed rates; above 1 the network is waited for."""
    bandwidth = ASSUMED_LOCAL if layout.ranks <= GPUS_PER_MACHINE else ASSUMED_NETWORK
    communicate = layout.communicated_bytes() * size.parameters / bandwidth
    return communicate / (step_flops(size, recipe) / layout.ranks / ASSUMED_FLOPS)


def chosen_layout(recipe: Recipe) -> tuple[LaunchRequest, str]:
    """The launch that is planned for, and where it came from: `accelerate launch`, the recipe's config, or one process."""
    request = launch_request()
    if request is not None and (request.config_file or request.num_processes > 1 or not recipe.accelerate_config):
        return request, str(request.config_file or "accelerate launch")
    if recipe.accelerate_config:
        path = Path(recipe.accelerate_config)
        shipped = Path(__file__).parent.parent / "accelerate_configs" / path
        path = path if path.exists() else shipped
        if not path.exists():
            raise UserError(f"accelerate_config {recipe.accelerate_config} does not exist")
        return read_accelerate_config(path), str(recipe.accelerate_config)
    return LaunchRequest("single", 1), "one process"


def strategy_name(request: LaunchRequest) -> str:
    """The name of a launch in this plan's terms."""
    if request.strategy == "deepspeed":
        return f"zero{request.zero_stage}" + ("_offload" if request.offload else "")
    return {"fsdp": "fsdp2"}.get(request.strategy, request.strategy)


def print_plan(recipe: Recipe) -> None:
    """Print the resolved recipe and the plan. Loads no weights and starts no processes.

    Raises:
        UserError: when the recipe cannot run in the chosen layout.
    """
    console = make_console(soft_wrap=True)
    size = ModelSize.of(load_config(recipe))
    request, source = chosen_layout(recipe)
    micro, accumulation = recipe.accumulation_steps(request.num_processes)
    bf16 = (recipe.mixed_precision or request.mixed_precision or "bf16") == "bf16"
    layout = Layout(strategy_name(request), request.num_processes, bf16, accumulation)

    console.print("[bold]Recipe[/bold]")
    for key, value in recipe.to_dict().items():
        console.print(f"  {key}: {value}", markup=False)
    steps = recipe.total_steps()
    tokens = steps * recipe.global_batch_size * recipe.seq_len
    flops = steps * step_flops(size, recipe)
    console.print("[bold]Plan[/bold]")
    console.print(f"  model: {size.parameters:,} parameters, {size.layers} layers of width {size.hidden}")
    console.print(
        f"  layout: {layout.strategy} on {layout.ranks} process(es), {'bf16' if bf16 else 'fp32'} computation ({source})"
    )
    console.print(
        f"  batch: {micro} rows x {accumulation} passes x {layout.ranks} processes = {recipe.global_batch_size} rows, "
        f"{recipe.global_batch_size * recipe.seq_len:,} tokens"
    )
    console.print(
        f"  steps: {recipe.epochs} epochs x {recipe.steps_per_epoch()} = {steps:,}; tokens: {tokens:,}; FLOPs: {flops:.3g}"
    )
    console.print(_table(size, recipe, layout))
    console.print(
        f"  GiB: model states and, in brackets, activations and logits of one pass. comm/compute at {ASSUMED_FLOPS:.0e} FLOP/s a "
        f"GPU, {ASSUMED_LOCAL:.0e} B/s in a machine of {GPUS_PER_MACHINE}, {ASSUMED_NETWORK:.0e} B/s between machines;\n"
        "  above 1 the run is communication-bound. A step is only "
        f"{recipe.global_batch_size * recipe.seq_len:,} tokens: the fewest GPUs that hold the states win, ZeRO-2 before ZeRO-3."
    )


def _table(size: ModelSize, recipe: Recipe, chosen: Layout) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for name in ("layout", "ranks", "bytes/param", "GiB per GPU", "GiB CPU", "comm/compute", ""):
        table.add_column(name, justify="left" if name in ("layout", "") else "right")
    layouts = [chosen]
    for strategy in ("zero1", "zero2", "zero3"):
        for ranks in RANKS:
            try:
                accumulation = recipe.accumulation_steps(ranks)[1]
            except RecipeError:
                accumulation = 1
            layouts.append(Layout(strategy, ranks, chosen.bf16, accumulation))
    for index, layout in enumerate(layouts):
        try:
            micro = recipe.accumulation_steps(layout.ranks)[0]
            share = communication_share(size, recipe, layout)
            verdict = f"{share:.2f}", "communication-bound" if share > 1 else ""
        except RecipeError:
            micro, verdict = 1, ("-", f"{recipe.global_batch_size} rows cannot be divided")
        gpu, cpu = layout.state_bytes()
        active = activation_bytes(size, recipe, micro, layout.bf16)
        table.add_row(
            f"{layout.strategy} (chosen)" if index == 0 else layout.strategy,
            str(layout.ranks),
            f"{gpu + cpu:.2f}",
            f"{gpu * size.parameters / GIB:.1f} (+{active / GIB:.1f})",
            f"{cpu * size.parameters / GIB:.1f}" if cpu else "",
            *verdict,
            style="bold" if index == 0 else None,
            end_section=index == 0,
        )
    return table

"""What a run will cost, from the model's config alone: `--dry_run`. The arithmetic is in cost_model.py."""

import math

import torch
from rich.table import Table

from ..builtin import ACCELERATE_CONFIGS
from ..models import load_config
from ..options import named_file
from ..terminal import make_console
from ..training.launching import LaunchRequest, launch_request, read_accelerate_config
from ..training.recipe import Recipe, RecipeError
from .cost_model import (
    GPU_RATES,
    GPUS_PER_MACHINE,
    Layout,
    ModelSize,
    Rates,
    peak_bytes,
    step_flops,
    step_time,
)
from .pass_memory import pass_memory

GIB = 2**30
RANKS = (1, 2, 4, 8, 16, 32, 64)


def chosen_layout(recipe: Recipe) -> tuple[LaunchRequest, str]:
    """The launch that is planned for, and where it came from: `accelerate launch`, the recipe's config, or one process."""
    request = launch_request()
    if request is not None and (request.config_file or request.num_processes > 1 or not recipe.accelerate_config):
        return request, str(request.config_file or "accelerate launch")
    if recipe.accelerate_config:
        file = named_file(recipe.accelerate_config, ACCELERATE_CONFIGS)
        return read_accelerate_config(file), recipe.accelerate_config
    return LaunchRequest("single", 1), "one process"


def strategy_name(request: LaunchRequest) -> str:
    """The name of a launch in this plan's terms."""
    if request.strategy == "deepspeed":
        return f"zero{request.zero_stage}" + ("_offload" if request.offload else "")
    return {"fsdp": "fsdp2"}.get(request.strategy, request.strategy)


def assumed_rates() -> tuple[str, Rates]:
    """The GPU that times are given for: this machine's when its rates are known, else an H100."""
    here = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    name = next((name for name in GPU_RATES if name in here), "H100")
    return name, GPU_RATES[name]


def print_plan(recipe: Recipe) -> None:
    """Print the resolved recipe and the plan. Loads no weights and starts no processes.

    Raises:
        UserError: when the recipe cannot run in the chosen layout.
    """
    console = make_console(soft_wrap=True)
    config = load_config(recipe.model, recipe.revision, recipe.trust_remote_code)
    recipe.check_window(config)
    size = ModelSize.of(config, recipe.trust_remote_code)
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
    saves = math.ceil(steps / (recipe.save_steps or recipe.steps_per_epoch()))
    console.print(
        f"  checkpoints: {saves} of {layout.checkpoint_bytes() * size.parameters / GIB:,.1f} GiB, the newest {recipe.keep_checkpoints} "
        "are kept; training waits while one is written, so on a slow disk set --save_steps"
    )
    gpu, rates = assumed_rates()
    with console.status("counting the memory of a pass"):
        table, counted = _table(config, size, recipe, layout, rates)
    console.print(table)
    console.print(
        f"  GiB: the most in a step, {'' if counted else 'without activations, which this model does not let us count, and '}"
        "without kernels' and collectives' buffers. Times are estimates with nothing overlapped, for "
        f"{gpu}s in machines of {GPUS_PER_MACHINE}: {rates.flops:.0e} FLOP/s,\n"
        f"  {rates.memory:.1e} B/s of memory, {rates.local:.0e} B/s within a machine, {rates.network:.0e} B/s between machines. "
        "Above 1 in comm/compute a run is communication-bound. A step is only\n"
        f"  {recipe.global_batch_size * recipe.seq_len:,} tokens: the fewest GPUs that hold the states win, ZeRO-2 before ZeRO-3."
    )


def _table(config, size: ModelSize, recipe: Recipe, chosen: Layout, rates: Rates) -> tuple[Table, bool]:
    """The table of layouts, and whether activations are in its memory."""
    table = Table(show_edge=False, pad_edge=False)
    for name in ("layout", "ranks", "GiB per GPU", "GiB CPU", "ms/step", "run, h", "comm/compute", ""):
        table.add_column(name, justify="left" if name in ("layout", "") else "right")
    layouts = [chosen]
    for strategy in ("zero1", "zero2", "zero3"):
        for ranks in RANKS:
            try:
                accumulation = recipe.accumulation_steps(ranks)[1]
            except RecipeError:
                accumulation = 1
            layouts.append(Layout(strategy, ranks, chosen.bf16, accumulation))

    most = recipe.global_batch_size
    arguments = recipe.seq_len, chosen.bf16, recipe.gradient_checkpointing, recipe.trust_remote_code
    one, all_rows = (pass_memory(config, rows, *arguments) for rows in (1, most))
    for index, layout in enumerate(layouts):
        try:
            micro = recipe.accumulation_steps(layout.ranks)[0]
            time = step_time(size, recipe, layout, rates)
            share, hours = time.communication / time.compute, time.seconds * recipe.total_steps() / 3600
            bound = "communication-bound" if share > 1 else ""
            verdict = f"{time.seconds * 1e3:,.0f}", f"{hours:.2f}", f"{share:.2f}", bound
        except RecipeError:
            micro, verdict = 1, ("-", "-", "-", f"{recipe.global_batch_size} rows cannot be divided")
        gpu, cpu = peak_bytes(size, layout, one and all_rows and one.between(all_rows, (micro - 1) / max(1, most - 1)))
        table.add_row(
            f"{layout.strategy} (chosen)" if index == 0 else layout.strategy,
            str(layout.ranks),
            f"{gpu / GIB:.1f}",
            f"{cpu / GIB:.1f}" if cpu else "",
            *verdict,
            style="bold" if index == 0 else None,
            end_section=index == 0,
        )
    return table, bool(one and all_rows)

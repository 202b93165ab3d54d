"""What a run will cost, from the model's config alone: `--dry_run`. The arithmetic is in cost_model.py."""

import math

import torch
from rich.table import Table

from ..builtin import ACCELERATE_CONFIGS
from ..hardware import GPUS, Rates, cpu_rates, describe_cores, gpu_here, use_all_cores
from ..models import ModelSize, load_config
from ..options import named_file
from ..terminal import duration, make_console
from ..training.launching import LaunchRequest, launch_request, mixed_precision, read_accelerate_config, trackers_of
from ..training.recipe import Recipe, RecipeError
from .cost_model import GPUS_PER_MACHINE, Layout, peak_bytes, step_flops, step_time
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


def assumed_gpu() -> str:
    """The GPU of GPUS that times are given for: this machine's when it is listed, else an H100."""
    return gpu_here() or "H100"


def print_plan(recipe: Recipe, cpu: bool = False) -> None:
    """Print the resolved recipe and the plan. Loads no weights and starts no processes.

    A run that would be on this machine's CPU, because of `cpu` or because one process finds no GPU, is planned for what
    that CPU is measured to do.

    Raises:
        UserError: when the recipe cannot run in the chosen layout.
    """
    console = make_console(soft_wrap=True)
    config = load_config(recipe.model, recipe.revision, recipe.trust_remote_code, weights=False)
    recipe.check_window(config)
    trackers_of(recipe)
    size = ModelSize.of_config(config, recipe.trust_remote_code)
    request, source = chosen_layout(recipe)
    micro, accumulation = recipe.accumulation_steps(request.num_processes)
    on_cpu = cpu or (request.strategy == "single" and not torch.cuda.is_available())
    bf16 = mixed_precision(recipe, request, on_cpu) == "bf16"
    layout = Layout(strategy_name(request), request.num_processes, bf16, accumulation)

    console.print("Recipe", style="bold")
    for key, value in recipe.to_dict().items():
        console.print(f"  {key}: {value}")
    steps = recipe.total_steps()
    tokens = steps * recipe.global_batch_size * recipe.seq_len
    flops = steps * step_flops(size, recipe)
    console.print("Plan", style="bold")
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
    gpu = assumed_gpu()
    rates = here = GPUS[gpu].rates()
    if on_cpu:
        use_all_cores()
        with console.status("measuring this machine's CPU"):
            here = cpu_rates(torch.bfloat16 if bf16 else torch.float32, layout.ranks)
    name = f"{layout.strategy} (chosen{', this CPU' if on_cpu else ''})"
    with console.status("counting the memory of a pass"):
        table, counted = _table(config, size, recipe, layout, name, here, rates)
    console.print(table)
    if on_cpu:
        share = f"each of {layout.ranks} processes" if layout.ranks > 1 else "the process"
        console.print(
            f"  This CPU, measured now with {describe_cores()}, gives {share} {here.flops:.1e} FLOP/s in "
            f"{'bf16' if bf16 else 'fp32'} and {here.memory:.1e} B/s of memory; the rows below it are for GPUs."
        )
    console.print(
        f"  GiB: the most in a step, {'' if counted else 'without activations, which this model does not let us count, and '}"
        "without kernels' and collectives' buffers. Times are estimates with nothing overlapped and without evaluations, for "
        f"{gpu}s in machines of {GPUS_PER_MACHINE}: {rates.flops:.0e} FLOP/s,\n"
        f"  {rates.memory:.1e} B/s of memory, {rates.local:.0e} B/s within a machine, {rates.network:.0e} B/s between machines. "
        "Above 1 in comm/compute a run is communication-bound. A step is only\n"
        f"  {recipe.global_batch_size * recipe.seq_len:,} tokens: the fewest GPUs that hold the states win, ZeRO-2 before ZeRO-3."
    )


def _table(
    config, size: ModelSize, recipe: Recipe, chosen: Layout, name: str, here: Rates, gpu: Rates
) -> tuple[Table, bool]:
    """The table of layouts, and whether activations are in its memory. The first is `chosen`, called `name`, on a machine
    of rates `here`; the others are on GPUs of rates `gpu`."""
    table = Table(show_edge=False, pad_edge=False)
    for column in ("layout", "ranks", "GiB each", "GiB CPU", "ms/step", "run", "comm/compute", ""):
        table.add_column(column, justify="left" if column in ("layout", "") else "right")
    layouts = [chosen]
    for strategy in ("zero1", "zero2", "zero3"):
        for ranks in RANKS:
            try:
                accumulation = recipe.accumulation_steps(ranks)[1]
            except RecipeError:
                accumulation = 1
            layouts.append(Layout(strategy, ranks, chosen.bf16, accumulation))

    most = recipe.global_batch_size
    one, all_rows = (
        pass_memory(
            config,
            count,
            recipe.seq_len,
            bf16=chosen.bf16,
            gradient_checkpointing=recipe.gradient_checkpointing,
            trust_remote_code=recipe.trust_remote_code,
        )
        for count in (1, most)
    )
    for index, layout in enumerate(layouts):
        try:
            micro = recipe.accumulation_steps(layout.ranks)[0]
            time = step_time(size, recipe, layout, gpu if index else here)
            share = time.communication / time.compute
            verdict = "communication-bound" if share > 1 else ""
            step, run = (
                f"{time.seconds * 1e3:,.{0 if time.seconds >= 0.01 else 1}f}",
                duration(time.seconds * recipe.total_steps()),
            )
            ratio = f"{share:.2f}"
        except RecipeError:
            micro, step, run, ratio = 1, "-", "-", "-"
            verdict = f"{recipe.global_batch_size} rows cannot be divided"
        memory = one and all_rows and one.between(all_rows, (micro - 1) / max(1, most - 1))
        device, host = peak_bytes(size, layout, memory)
        table.add_row(
            layout.strategy if index else name,
            str(layout.ranks),
            f"{device / GIB:.1f}",
            f"{host / GIB:.1f}" if host else "",
            step,
            run,
            ratio,
            verdict,
            style=None if index else "bold",
            end_section=not index,
        )
    return table, bool(one and all_rows)

"""The Accelerator that was asked for, or a refusal.

Accelerate falls back without a word: a CPU flag with a DeepSpeed file trains with DDP, an FSDP2 file without a GPU
trains with DDP, and some combinations start one process, or two that never exchange a gradient. So what
`accelerate launch` was asked for is read from its own command line and compared with what came out.
"""

import contextlib
import math
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ..errors import UserError
from ..hardware import use_all_cores
from ..options import nearest
from ..processes import find_launcher, world_size
from .precision import configure_deepspeed
from .recipe import Recipe


@dataclass(frozen=True)
class LaunchRequest:
    """What `accelerate launch` was asked for. `strategy`: single, ddp, deepspeed or fsdp; zero_stage 0 when not DeepSpeed."""

    strategy: str
    num_processes: int
    zero_stage: int = 0
    offload: bool = False
    mixed_precision: str | None = None
    config_file: Path | None = None


def launch_request() -> LaunchRequest | None:
    """What the `accelerate launch` above this process was asked for; None when there is none."""
    launcher = find_launcher()
    return _interpret(launcher.arguments, launcher.folder) if launcher else None


def read_accelerate_config(path: str | Path, num_processes: int | None = None) -> LaunchRequest:
    """What an accelerate config file asks for, with its number of processes or another one."""
    from accelerate.commands.launch import launch_command_parser

    arguments = ["--config_file", str(path), "script"]
    if num_processes:
        arguments = ["--num_processes", str(num_processes), *arguments]
    return _interpret(launch_command_parser().parse_args(arguments), Path.cwd())


def _interpret(args, cwd: Path) -> LaunchRequest:
    from accelerate.commands.config.config_args import default_config_file, load_config_from_file

    file = args.config_file or (default_config_file if os.path.isfile(default_config_file) and not args.cpu else None)
    path = cwd / file if file else None
    if path is not None and not path.is_file():
        raise UserError(f"accelerate config {file} does not exist")
    try:
        config = load_config_from_file(str(path)) if path else None
    except Exception as error:  # whatever Accelerate raises of a file that is no YAML, or of another version
        raise UserError(f"accelerate config {file} cannot be read: {' '.join(str(error).split())[:300]}") from error
    asked = str(getattr(config, "distributed_type", "NO")).rpartition(".")[2]
    # With neither a file nor a number `accelerate launch` takes every GPU there is: what came out is what was asked for.
    processes = args.num_processes or getattr(config, "num_processes", None) or world_size()
    _check_kind(args, config, asked, processes, path or "the launch command")
    if args.use_deepspeed or asked == "DEEPSPEED":
        strategy = "deepspeed"
    elif args.use_fsdp or asked == "FSDP":
        strategy = "fsdp"
    else:
        strategy = "ddp" if processes > 1 else "single"
    deepspeed = (getattr(config, "deepspeed_config", None) or {}) if strategy == "deepspeed" else {}
    return LaunchRequest(
        strategy,
        processes,
        zero_stage=int(args.zero_stage or deepspeed.get("zero_stage", 2)) if strategy == "deepspeed" else 0,
        offload=deepspeed.get("offload_optimizer_device", "none") != "none",
        mixed_precision=args.mixed_precision or getattr(config, "mixed_precision", None),
        config_file=path,
    )


def _check_kind(args, config, asked: str, processes: int, source: Path | str) -> None:
    """Refuse what Accelerate offers and no run can use.

    Raises:
        UserError: tensor, context or sequence parallelism, shards that are not over all processes, or several processes by MPI.
    """
    if asked == "MULTI_CPU" and processes > 1:
        raise UserError(
            f"{source} is of type MULTI_CPU, with which Accelerate starts one process here, not {processes}: for processes on CPUs use "
            f"accelerate_configs/ddp.yaml (or zero2.yaml) with --num_processes {processes}, and --cpu after the script's name"
        )
    settings = getattr(config, "parallelism_config", None) or {}
    sizes = {}
    for kind in ("tp", "cp", "sp", "dp_replicate", "dp_shard"):
        name = f"parallelism_config_{kind}_size"
        sizes[kind] = int(settings.get(name) or getattr(args, name, None) or 1)
    parallel = {kind: size for kind, size in sizes.items() if size > 1}
    split = {"tp", "cp", "sp"} & parallel.keys()
    if split or math.prod(parallel.values()) not in (1, processes):
        asks = ", ".join(f"{kind}_size {size}" for kind, size in parallel.items())
        raise UserError(
            f"the parallelism_config of {source} asks for {asks} on {processes} process(es), and a run has neither tensor, context nor "
            "sequence parallelism: leave parallelism_config out, so that every process takes its own rows (FSDP2 and ZeRO-3 shard "
            "the weights over all of them)"
        )


def mixed_precision(recipe: Recipe, request: LaunchRequest | None, on_cpu: bool) -> str:
    """bf16 or no: what the recipe says, else the launch, else bf16 on a GPU and no on a CPU."""
    return recipe.mixed_precision or (request.mixed_precision if request else None) or ("no" if on_cpu else "bf16")


def trackers_of(recipe: Recipe) -> list[str]:
    """The trackers that `report_to` names.

    Raises:
        UserError: Accelerate knows none of that name, or its package is missing, without which Accelerate would leave it out.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import LoggerType

    names = [] if recipe.report_to == "none" else [name.strip() for name in recipe.report_to.split(",")]
    for name in names:
        known = ("all", *LOGGER_TYPE_TO_CLASS)
        if name not in known:
            raise UserError(f"report_to: unknown tracker {name!r}{nearest(name, known)} (there are {', '.join(known)})")
        if name != "all" and name in LoggerType and LoggerType(name) not in get_available_trackers():
            raise UserError(f"report_to: the package of {name} is not installed: install it, or leave {name} out")
    return names


def use_cpu() -> None:
    """Make this process, and the Accelerator that it will create, run on the CPU. Call it before torch sees a GPU."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if _uses("DEEPSPEED"):
        os.environ["DS_ACCELERATOR"] = "cpu"  # read when deepspeed is imported
        import deepspeed

        # Its shared-memory collectives would be compiled for a minute at start, and gloo does without them.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    elif not _uses("FSDP"):
        os.environ["ACCELERATE_USE_CPU"] = "true"  # with DeepSpeed or FSDP this would quietly mean DDP


def create_accelerator(recipe: Recipe, cpu: bool = False):
    """An `accelerate.Accelerator` set up for `recipe`, checked to be what was asked for.

    With `cpu`, `use_cpu` must have been called first.

    Raises:
        UserError: no GPU for a distributed launch, or another strategy or number of processes than was asked for.
    """
    import torch
    import torch.distributed.fsdp
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, ProjectConfiguration

    request = launch_request()
    num_processes = world_size()
    on_cpu = not torch.cuda.is_available()
    use_all_cores()
    if on_cpu and not cpu and (num_processes > 1 or _uses("DEEPSPEED") or _uses("FSDP")):
        raise UserError("a distributed run was launched and no GPU was found: add --cpu to train on the CPU")
    if on_cpu:
        os.environ["DS_ACCELERATOR"] = "cpu"  # found out anyway, with a warning
    micro, accumulation = recipe.accumulation_steps(num_processes)
    precision = mixed_precision(recipe, request, on_cpu)
    if precision not in ("no", "bf16"):
        raise UserError(f"mixed precision {precision} is not supported: use bf16 or no in the accelerate config")
    # Rank 0 alone reads a large dataset or a large checkpoint while the others wait at a barrier.
    group = InitProcessGroupKwargs(backend="gloo" if on_cpu else None, timeout=timedelta(hours=2))
    ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True)  # or the gradients are held twice
    distributed = num_processes > 1 or _uses("DEEPSPEED") or _uses("FSDP")
    accelerator = Accelerator(
        mixed_precision=precision,
        gradient_accumulation_steps=accumulation,
        log_with=trackers_of(recipe) or None,
        project_config=ProjectConfiguration(project_dir=recipe.output_dir, logging_dir=f"{recipe.output_dir}/trackers"),
        kwargs_handlers=[group, ddp] if distributed else [],
    )
    check_launch(accelerator, request, num_processes)
    if accelerator.state.deepspeed_plugin is not None:
        configure_deepspeed(accelerator.state.deepspeed_plugin.deepspeed_config, micro, accumulation, on_cpu)
    if accelerator.is_fsdp2 and precision == "bf16":  # Accelerate would also sum gradients in bf16
        policy = torch.distributed.fsdp.MixedPrecisionPolicy(torch.bfloat16, torch.float32, torch.bfloat16)
        accelerator.state.fsdp_plugin.mixed_precision_policy = policy
    return accelerator


def strategy_of(accelerator) -> str:
    """single, ddp, deepspeed or fsdp: what an Accelerator really does."""
    kind = accelerator.distributed_type.value
    return {"NO": "single", "DEEPSPEED": "deepspeed", "FSDP": "fsdp"}.get(
        kind, "ddp" if kind.startswith("MULTI") else kind
    )


def check_launch(accelerator, request: LaunchRequest | None, num_processes: int) -> None:
    """Refuse an Accelerator of another strategy or size than was asked for.

    Raises:
        UserError: saying what was asked for and what came out.
    """
    got = f"{strategy_of(accelerator)} on {accelerator.num_processes} process(es)"
    asked_processes = request.num_processes if request else num_processes
    asked = f"{request.strategy if request else strategy_of(accelerator)} on {asked_processes} process(es)"
    if asked != got:
        source = request.config_file if request and request.config_file else "the launch command"
        raise UserError(
            f"{source} asks for {asked}, but Accelerate started {got}: use the files in accelerate_configs/, with --cpu after "
            "the script's name for a machine without GPUs (FSDP2 needs GPUs), and not `accelerate launch --cpu`"
        )


@contextlib.contextmanager
def no_sharding_at_load():
    """Inside, `from_pretrained` loads whole weights in this process alone, although ZeRO-3 is on."""
    from transformers.integrations import deepspeed as integration

    active = integration.deepspeed_config() is not None and integration._hf_deepspeed_config_weak_ref()
    integration.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if active:
            integration.set_hf_deepspeed_config(active)


def _uses(name: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true"

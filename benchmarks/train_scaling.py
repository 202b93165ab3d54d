"""A training step on 1 and 2 CPU processes under every strategy, and what the cost model makes of the same machine.

    python benchmarks/train_scaling.py --rounds 2

Each run is `accelerate launch` with the shipped config of that name, one thread per process, the 15 M model, 8 x 256 tokens
in fp32. The model gets what is measured here: the matrix rate and copy bandwidth of one process, and the bytes a second
that one process sends in an all-reduce between two. The time of a step is the median over its run; the machine's CPUs must be idle.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import copy_rate, llama_config, matmul_rate, median_range, report, save_random_llama
from train_speed import StepClock, timed_hyperfitter

from hyperfitting.hardware import Rates
from hyperfitting.models import ModelSize
from hyperfitting.planning.cost_model import Layout, step_time
from hyperfitting.processes import is_main_process
from hyperfitting.training.recipe import Recipe

REPOSITORY = Path(__file__).parent.parent
STRATEGIES = ("ddp", "zero1", "zero2", "zero3", "fsdp2")


def work(model: Path, output: Path, steps: int) -> None:
    """One rank of one launch; rank 0 writes the seconds of its steps and the all-reduce bandwidth."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        from accelerate.state import PartialState
        from accelerate.utils import DistributedType

        state = PartialState(backend="gloo")  # Accelerate leaves FSDP2 out on a CPU; PyTorch's runs there
        state.distributed_type, state.device = DistributedType.MULTI_GPU, torch.device("cpu")
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(3, 32000, (8 * (steps + 3), 256), generator=generator)
    fitter = timed_hyperfitter(model, rows, False, False, output / "run", cpu=True)
    fitter.fit()
    facts = {**StepClock.step_seconds(fitter.clock), "sent": _all_reduce_rate(fitter.accelerator)}
    if is_main_process():
        (output / "result.json").write_text(json.dumps(facts))
    fitter.accelerator.state.destroy_process_group()


def _all_reduce_rate(accelerator) -> float | None:
    """Bytes a second that one rank sends, as the cost model counts them: 2 (n - 1) / n of the tensor."""
    world = accelerator.num_processes
    if world == 1:
        return None
    tensor, seconds = torch.ones(15_000_000), []
    for _ in range(6):
        accelerator.wait_for_everyone()
        start = time.perf_counter()
        torch.distributed.all_reduce(tensor)
        seconds.append(time.perf_counter() - start)
    return 2 * (world - 1) / world * 4 * tensor.numel() / min(seconds)


def launch(strategy: str, processes: int, folder: Path, steps: int) -> dict:
    output = Path(tempfile.mkdtemp(dir=folder))
    config = "single" if processes == 1 and strategy == "ddp" else strategy
    command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file"]
    command += [f"accelerate_configs/{config}.yaml", "--num_processes", processes, "--mixed_precision", "no", __file__]
    command += ["--work", folder / "model", "--output", output, "--steps", steps]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(w) for w in command], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    if not (output / "result.json").exists():
        raise SystemExit(f"{strategy} on {processes} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return json.loads((output / "result.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8, help="timed steps of a run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=STRATEGIES)
    for hidden in ("--work", "--output"):
        parser.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args.work, args.output, args.steps)
    torch.set_num_threads(1)
    runs = [("ddp", 1), *((strategy, 2) for strategy in args.strategies)]
    measured = {run: [] for run in runs}
    with tempfile.TemporaryDirectory() as folder:
        save_random_llama("15m", Path(folder) / "model")
        for _ in range(args.rounds):
            for run in runs:
                measured[run].append(launch(*run, Path(folder), args.steps))
    sent = max(result["sent"] for results in measured.values() for result in results if result["sent"])
    rates = Rates(flops=matmul_rate(torch.float32), memory=copy_rate(), local=sent, network=sent, host=1)
    size, recipe, rows = ModelSize.of_config(llama_config("15m")), Recipe.load(), []
    for (strategy, ranks), results in measured.items():
        strategy = "single" if ranks == 1 else strategy
        wall, cpu = ([1e3 * statistics.median(r[clock]) for r in results] for clock in ("wall", "cpu"))
        model = step_time(size, recipe, Layout(strategy, ranks, False, 1), rates)
        parts = (f"{1e3 * part:,.0f}" for part in (model.compute, model.optimizer, model.communication))
        ratio = statistics.median(wall) / 1e3 / model.seconds
        rows.append(
            [strategy, str(ranks), median_range(wall), median_range(cpu), *parts, f"{model.seconds * 1e3:,.0f}"]
            + [f"{ratio:.2f}"]
        )
    columns = ["strategy", "ranks", "ms/step", "CPU ms/step, rank 0", "compute", "optimizer", "communication"]
    columns += ["model, ms", "measured / model"]
    facts = {"rates": vars(rates), "runs": {f"{s} on {n}": results for (s, n), results in measured.items()}}
    report("train-scaling", "A step of 8 x 256 tokens, 15 M parameters, fp32, on CPU processes", columns, rows, facts)


if __name__ == "__main__":
    main()

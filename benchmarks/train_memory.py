"""What a training step holds in memory: counted beforehand, as `--dry_run` counts it, and measured on the machine at hand.

    python benchmarks/train_memory.py                      # on a GPU: 1.1b and 8b; on a CPU the 15m model alone is measured
    python benchmarks/train_memory.py --sizes 8b

Every way of saving memory is a run of its own with 8 x 256 tokens and bf16 computation. What does not fit, or has no device
here, keeps its counted row. Times not measured are the cost model's for the GPU that `--dry_run` assumes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from common import SHAPES, llama_config, median_range, peak_memory, report, save_random_llama
from train_speed import StepClock, timed_hyperfitter

from hyperfitting.hardware import GPUS
from hyperfitting.models import ModelSize
from hyperfitting.planning.cost_model import Layout, peak_bytes, step_time
from hyperfitting.planning.pass_memory import pass_memory
from hyperfitting.planning.plan import assumed_gpu
from hyperfitting.training.recipe import Recipe

REPOSITORY, GIB = Path(__file__).parent.parent, 2**30
# name -> (accelerate config, recipe)
OPTIONS = {
    "as it is": ("single", {}),
    "gradient checkpointing": ("single", {"gradient_checkpointing": True}),
    "states in CPU memory": ("zero3_offload", {}),
    "both": ("zero3_offload", {"gradient_checkpointing": True}),
}


def work(args) -> None:
    """One run, in this process; writes its peak and the seconds of its steps to `work`/result.json."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    rows = torch.randint(3, SHAPES[args.size][-1], (8 * (args.steps + 3), 256))
    _, recipe = OPTIONS[args.option]
    fitter = timed_hyperfitter(args.work / "model", rows, True, False, args.work / "out", **recipe)
    fitter.fit()
    # A CPU's peak is the process's: of what was there when training began only the weights count.
    others = 0 if torch.cuda.is_available() else fitter.clock.memory_before - 4 * fitter.size.parameters
    facts = {**StepClock.step_seconds(fitter.clock), "peak": peak_memory() - others}
    (args.work / "result.json").write_text(json.dumps(facts))


def measure(size: str, option: str, steps: int, folder: Path) -> dict | None:
    """What `work` measures, or None when it does not fit."""
    for old in (folder / "out", folder / "result.json"):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    config = REPOSITORY / "accelerate_configs" / f"{OPTIONS[option][0]}.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file", config]
    command += ["--num_processes", 1, __file__, "--work", folder, "--size", size, "--option", option, "--steps", steps]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if "OutOfMemoryError" in done.stderr:
        return None
    if not (folder / "result.json").exists():
        raise SystemExit(f"{size}, {option} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return json.loads((folder / "result.json").read_text())


def main() -> None:
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["15m", "1.1b", "8b"], choices=SHAPES)
    parser.add_argument("--steps", type=int, default=20 if gpu else 3, help="timed steps of a run")
    for hidden in ("--work", "--size", "--option"):
        parser.add_argument(hidden, type=Path if hidden == "--work" else str, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args)
    name = assumed_gpu()
    rates = GPUS[name].rates()
    rows, facts = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            config = llama_config(size)
            counted = ModelSize.of_config(config)
            if gpu or size == "15m":
                save_random_llama(size, Path(folder) / "model")
            for option, (strategy, recipe) in OPTIONS.items():
                recipe = Recipe.load(**recipe)
                micro, accumulation = recipe.accumulation_steps(1)
                layout = Layout(strategy, 1, True, accumulation)
                memory = pass_memory(config, micro, recipe.seq_len, True, recipe.gradient_checkpointing)
                on_gpu, on_cpu = peak_bytes(counted, layout, memory)
                estimate = step_time(counted, recipe, layout, rates).seconds
                there = gpu or (size == "15m" and strategy == "single")
                found = measure(size, option, args.steps, Path(folder)) if there else None
                facts[f"{size}, {option}"] = {"counted": [on_gpu, on_cpu], "estimated_s": estimate, "measured": found}
                rows.append([size, option, f"{on_gpu / GIB:.1f}", f"{on_cpu / GIB:.1f}" if on_cpu else ""])
                rows[-1] += [f"{found['peak'] / GIB:.1f}" if found else "does not fit" if there else "not measured"]
                rows[-1] += [f"{estimate * 1e3:,.0f}", median_range([1e3 * s for s in found["wall"]]) if found else ""]
    columns = ["size", "how", "counted GiB", "in CPU memory", "measured GiB", f"{name}, estimated ms/step", "ms/step"]
    report("train-memory", "The peak of a step of 8 x 256 tokens, bf16 computation", columns, rows, facts)


if __name__ == "__main__":
    main()

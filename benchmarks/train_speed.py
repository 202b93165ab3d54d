"""A training step of 8 rows x 256 tokens: `Hyperfitter` against Trainer, TRL and a plain loop, and against the machine's limit.

    OMP_NUM_THREADS=1 python benchmarks/train_speed.py --size 15m --dtype fp32 --rounds 3
    OMP_NUM_THREADS=1 PYTHONPATH=DIR python benchmarks/train_speed.py   # after `pip install --no-deps --target DIR trl`
    OMP_NUM_THREADS=2 python benchmarks/train_speed.py --model FOLDER    # a model of yours instead of a random one

Every side trains the same random model on the same rows, in a process of its own, in turn, `--rounds` times. "same" sides
follow the paper's recipe in the same order of rows (constant rate, no clipping, no decay) with the same dtype and
--compile, and their losses are compared; "defaults" sides change nothing but the batch size and the dtype. The plain loop
is the paper's published skeleton from its description: torch's AdamW, a DataLoader, `loss.item()` in every step.
"""

import argparse
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from common import (
    SHAPES,
    copy_rate,
    cores_at_work,
    device,
    llama_config,
    matmul_rate,
    median_range,
    peak_memory,
    report,
    resident_memory,
    save_random_llama,
)

from hyperfitting import Corpus, Hyperfitter
from hyperfitting.hardware import Rates
from hyperfitting.models import ModelSize
from hyperfitting.planning.cost_model import Layout, peak_bytes, step_flops, step_time
from hyperfitting.planning.pass_memory import pass_memory
from hyperfitting.training.recipe import Recipe
from hyperfitting.training.steps import epoch_order

LEARNING_RATE, WARM_UP = 1e-6, 2
SAME_LOSS = {"fp32": 1e-4, "bf16": 1e-2}  # nats; bf16 gradients round differently, and Adam divides them by their size
SIDES = {
    "ours": "Hyperfitter",
    "plain": "plain loop",
    "trainer same": "Trainer",
    "trl same": "TRL",
    "trainer defaults": "Trainer, its defaults",
    "trl defaults": "TRL, its defaults",
}


class StepClock:
    """Reads the clocks where a step begins; the first steps, which warm up, and the last one are left out."""

    def __init__(self):
        self.wall, self.cpu, self.losses, self.begun, self.saving = [], [], [], None, None

    def training_begins(self) -> None:
        self.begun, self.memory_before = time.time(), resident_memory()

    def tick(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def step_seconds(self, warm_up: int = WARM_UP) -> dict[str, list[float]]:
        times = {"wall": self.wall[warm_up:], "cpu": self.cpu[warm_up:]}
        return {name: [b - a for a, b in zip(t, t[1:], strict=False)] for name, t in times.items()}


class TimedHyperfitter(Hyperfitter):
    """A Hyperfitter with a clock."""

    clock: StepClock

    def _train(self):
        self.clock.training_begins()
        super()._train()

    def _step(self, rows):
        self.clock.tick()
        super()._step(rows)

    def _write_model(self, folder):
        start = time.perf_counter()
        super()._write_model(folder)
        self.clock.saving = time.perf_counter() - start


def timed_hyperfitter(
    model: Path, rows: torch.Tensor, bf16: bool, compiled: bool, output: Path, **more
) -> TimedHyperfitter:
    """One epoch over `rows`, evaluated on a single row."""
    corpus = Corpus(rows, rows[:1], ["random ids"] * len(rows), ["random ids"], "none")
    recipe = dict(model=str(model), tokenizer="builtin/base_model", epochs=1, probe_contexts=0, output_dir=str(output))
    recipe |= dict(learning_rate=LEARNING_RATE, mixed_precision="bf16" if bf16 else "no", torch_compile=compiled)
    fitter = TimedHyperfitter(corpus=corpus, **recipe, **more)
    fitter.clock = StepClock()
    return fitter


def run_ours(model: Path, rows: torch.Tensor, bf16: bool, compiled: bool, output: Path) -> StepClock:
    fitter = timed_hyperfitter(model, rows, bf16, compiled, output)
    result = fitter.fit()
    fitter.clock.losses = [record["loss"] for record in result.history if record["kind"] == "train"]
    return fitter.clock


def run_plain(model: Path, rows: torch.Tensor, bf16: bool, compiled: bool, output: Path) -> StepClock:
    from transformers import AutoModelForCausalLM

    clock = StepClock()
    model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).to(device()).train()
    if compiled:
        model.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    rows = rows[epoch_order(len(rows), 0, 0)]  # the order that shuffling gives the other sides
    loader = torch.utils.data.DataLoader(rows, batch_size=8)
    clock.training_begins()
    for batch in loader:
        clock.tick()
        batch = batch.to(device())
        with torch.autocast(device().type, torch.bfloat16, enabled=bf16):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        clock.losses.append(loss.item())
    start = time.perf_counter()
    model.save_pretrained(output)
    clock.saving = time.perf_counter() - start
    return clock


def run_trainer(
    model: Path, rows: torch.Tensor, bf16: bool, compiled: bool, output: Path, trl: bool, defaults: bool
) -> StepClock:
    import datasets
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from hyperfitting.builtin import resolve

    if trl:
        from trl import SFTConfig as TrainingArguments  # noqa: F811
        from trl import SFTTrainer as Trainer  # noqa: F811
    clock = StepClock()

    class Callback(TrainerCallback):
        def on_train_begin(self, *args, **kwargs):
            clock.training_begins()

        def on_step_begin(self, *args, **kwargs):
            clock.tick()

    class Noting(Trainer):
        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            clock.losses.append(loss.detach())
            return loss

    settings = dict(output_dir=str(output), per_device_train_batch_size=8, num_train_epochs=1, bf16=bf16)
    settings |= dict(report_to="none", use_cpu=device().type == "cpu", disable_tqdm=True)
    if not defaults:
        settings |= dict(learning_rate=LEARNING_RATE, lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=0.0)
        settings |= dict(train_sampling_strategy="sequential", gradient_checkpointing=False, save_strategy="no")
        settings |= dict(torch_compile=compiled, logging_steps=1)
        rows = rows[epoch_order(len(rows), 0, 0)]
    tokenizer = AutoTokenizer.from_pretrained(resolve("builtin/base_model"))
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    trainer = Noting(
        model=network,
        args=TrainingArguments(**settings),
        train_dataset=datasets.Dataset.from_dict({"input_ids": rows.tolist()}),
        processing_class=tokenizer,
        callbacks=[Callback()],
        **({} if trl else {"data_collator": DataCollatorForLanguageModeling(tokenizer, mlm=False)}),
    )
    trainer.train()
    clock.losses = [float(loss) for loss in clock.losses]
    start = time.perf_counter()
    trainer.save_model(str(output / "final"))
    clock.saving = time.perf_counter() - start
    return clock


RUN = {
    "ours": run_ours,
    "plain": run_plain,
    **{
        f"{name} {kind}": functools.partial(run_trainer, trl=name == "trl", defaults=kind == "defaults")
        for name in ("trainer", "trl")
        for kind in ("same", "defaults")
    },
}


def work(args) -> None:
    """One side, in this process; writes what it measured to `work`/result.json."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    work = Path(args.work)
    rows = random_rows(args)
    clock = RUN[args.side](args.model or work / "model", rows, args.dtype == "bf16", args.compile, work / "out")
    facts = {**clock.step_seconds(args.warm_up), "losses": clock.losses, "start_up": clock.begun - args.spawned}
    facts |= {"saving": clock.saving, "peak_memory": peak_memory()}
    (work / "result.json").write_text(json.dumps(facts))


def config_of(args):
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(args.model) if args.model else llama_config(args.size)


def random_rows(args) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (8 * (args.warm_up + args.steps + 1), 256)
    return torch.randint(3, config_of(args).vocab_size, shape, generator=generator)


def measure(args, side: str, work: Path) -> dict:
    shutil.rmtree(work / "out", ignore_errors=True)
    options = ["--size", args.size, "--dtype", args.dtype, *(["--compile"] * args.compile)]
    options += ["--steps", args.steps, "--warm_up", args.warm_up]
    options += ["--model", args.model] if args.model else []
    command = [sys.executable, __file__, "--side", side, "--work", work, "--spawned", time.time(), *options]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return json.loads((work / "result.json").read_text())


def does_not_fit(args) -> str | None:
    """Why the plan says that this GPU cannot hold a step, or None."""
    if not torch.cuda.is_available():
        return None
    config, recipe, bf16 = config_of(args), Recipe.load(), args.dtype == "bf16"
    micro, accumulation = recipe.accumulation_steps(1)
    memory = pass_memory(config, micro, recipe.seq_len, bf16, False)
    needed, _ = peak_bytes(ModelSize.of_config(config), Layout("single", 1, bf16, accumulation), memory)
    there = torch.cuda.mem_get_info()[0]
    return f"a step takes {needed / 2**30:.0f} GiB and {there / 2**30:.0f} are free" if needed > there else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="15m", choices=SHAPES)
    parser.add_argument("--model", type=Path, help="folder of a model, instead of a random one of --size")
    parser.add_argument("--dtype", default="fp32" if device().type == "cpu" else "bf16", choices=["fp32", "bf16"])
    parser.add_argument("--compile", action="store_true", help="torch.compile on every `same` side")
    parser.add_argument("--steps", type=int, default=6 if device().type == "cpu" else 100, help="timed steps")
    parser.add_argument("--warm_up", type=int, default=WARM_UP, help="steps before those, not timed [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    for hidden in ("--side", "--work"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--spawned", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        return work(args)
    if args.size != "15m" and not args.model and device().type == "cpu":
        print(f"{args.size}: not measured, there is no GPU")
        return
    if reason := does_not_fit(args):
        print(f"{args.model or args.size}: left out, {reason}")
        return
    sides = [side for side in args.sides if not side.startswith("trl") or find_spec("trl")]
    if len(sides) < len(args.sides):
        print("trl is not installed: left out")
    measured = {side: [] for side in sides}
    rates = {"flops": [], "memory": []}
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    with tempfile.TemporaryDirectory() as folder:
        if not args.model:
            save_random_llama(args.size, Path(folder) / "model")
        for _ in range(args.rounds):
            for side in sides:
                measured[side].append(measure(args, side, Path(folder)))
            rates["flops"].append(matmul_rate(dtype))
            rates["memory"].append(copy_rate())
    show(args, ModelSize.of_config(config_of(args)), measured, rates)


def show(args, size: ModelSize, measured: dict[str, list[dict]], rates: dict[str, list[float]]) -> None:
    flops_rate, memory_rate = (max(rates[kind]) for kind in ("flops", "memory"))
    cores = cores_at_work()
    here = Rates(flops=cores * flops_rate, memory=cores * memory_rate, local=1, network=1, host=1)
    recipe = Recipe.load()
    limit = step_time(size, recipe, Layout("single", 1, args.dtype == "bf16", 1), here)
    flops, tokens = step_flops(size, recipe), recipe.global_batch_size * recipe.seq_len
    reference = measured.get("ours") or next(iter(measured.values()))
    rows, others, medians = [], [], {}
    for side, rounds in measured.items():
        wall, cpu = ([statistics.median(r[clock]) for r in rounds] for clock in ("wall", "cpu"))
        ours = [statistics.median(r["cpu" if device().type == "cpu" else "wall"]) for r in reference]
        theirs = cpu if device().type == "cpu" else wall
        ratio = statistics.median([b / a for a, b in zip(ours, theirs, strict=True)])
        medians[side] = {"ms": statistics.median(wall) * 1e3, "cpu_ms": statistics.median(cpu) * 1e3, "ratio": ratio}
        losses = [(r["losses"], o["losses"]) for r, o in zip(rounds, reference, strict=True)]
        difference = max(abs(a - b) for pair in losses for a, b in zip(*pair, strict=True))
        if "defaults" not in side and difference > SAME_LOSS[args.dtype]:
            raise SystemExit(f"{SIDES[side]} trains otherwise than we do: its losses differ by {difference:.1e}")
        rows.append(
            [
                SIDES[side],
                median_range([1e3 * s for s in wall]),
                median_range([1e3 * s for s in cpu]),
                f"{tokens / statistics.median(wall):,.0f}",
                f"{flops / statistics.median(cpu if device().type == 'cpu' else wall) / flops_rate:.0%}",
                f"{ratio:.2f}" if side != "ours" else "",
                "" if "defaults" in side or side == "ours" else f"{difference:.0e}",
            ]
        )
        others.append(
            [
                SIDES[side],
                f"{max(r['peak_memory'] for r in rounds) / 2**30:.2f}",
                median_range([r["start_up"] for r in rounds], 1),
                median_range([r["saving"] for r in rounds], 2),
            ]
        )
    ms = limit.seconds * 1e3
    rows.append(["the machine's limit", f"{ms:,.0f}", "", f"{tokens / limit.seconds:,.0f}", "", "", ""])
    compiled = "compiled" if args.compile else "eager"
    what = args.model.name if args.model else args.size
    title = f"A step of {recipe.global_batch_size} x {recipe.seq_len} tokens, {what}, {args.dtype}, {compiled}"
    columns = ["side", "ms/step", "CPU ms/step", "tokens/s", "MFU", "ours is faster by", "loss difference"]
    facts = {
        "rounds": measured,
        "medians": medians,
        "rates": rates,
        "ratio_clock": "cpu" if device().type == "cpu" else "wall",
    }
    facts["limit"] = {"compute_s": limit.compute, "optimizer_s": limit.optimizer}
    name = f"train-{what}-{args.dtype}" + ("-compiled" if args.compile else "")
    report(name, title, columns, rows, facts)
    columns = ["side", "peak GiB", "from command to first step, s", "saving the model, s"]
    report(f"{name}-memory", "Memory, start and end of the same runs", columns, others, {})
    print(
        f"limit: {flops / 1e9:,.0f} GFLOP at {here.flops / 1e9:,.0f} GFLOP/s = {limit.compute * 1e3:,.0f} ms, then the optimizer's "
        f"bytes at {here.memory / 1e9:,.1f} GB/s = {limit.optimizer * 1e3:,.1f} ms"
    )


if __name__ == "__main__":
    main()

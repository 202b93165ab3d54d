import itertools
import json
import re

import pytest
import torch
import yaml

from hyperfitting import Recipe, UserError, hardware
from hyperfitting.builtin import ACCELERATE_CONFIGS
from hyperfitting.commands.hyperfit import main
from hyperfitting.hardware import GPUS, Rates
from hyperfitting.models import ModelSize
from hyperfitting.planning.cost_model import Layout, step_flops, step_time
from hyperfitting.training.launching import LaunchRequest, read_accelerate_config

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
SIZES = {
    "8b": dict(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8
    ),
    "70b": dict(
        hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8
    ),
}


@pytest.fixture(params=SIZES)
def config(request, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, **SIZES[request.param]}))
    return request.param, tmp_path


@pytest.mark.slow
def test_dry_run_needs_a_config_alone(config, capsys):
    name, folder = config
    assert main(["--config", f"launch/recipes/llama3_{name}.yaml", "--model", str(folder), "--dry_run"]) == 0
    shown = capsys.readouterr().out
    for part in (
        {"8b": "8,030,261,248 parameters", "70b": "70,553,706,496 parameters"}[name],
        "1 rows x 1 passes x 8 processes = 8 rows, 2,048 tokens",
        "20 epochs x 250 = 5,000; tokens: 10,240,000",
        "8 rows cannot be divided",
        "communication-bound",
        {"8b": "checkpoints: 20 of 104.7 GiB", "70b": "checkpoints: 4 of 788.5 GiB"}[name],
        "learning_rate: 1e-06",
    ):
        assert part in shown, part
    assert "zero2 on 8" in shown if name == "8b" else "zero3_offload on 8" in shown


def test_an_impossible_layout_is_refused_before_anything_starts(config, capsys):
    _, folder = config
    values = ["--model", str(folder), "--global_batch_size", "12", "--accelerate_config", "zero3.yaml", "--dry_run"]
    assert main(values) == 2
    assert "global_batch_size 12 cannot be divided over 8 processes" in capsys.readouterr().err


def test_state_bytes_follow_the_zero_paper():
    def gpu(strategy, ranks, accumulation=1):
        return Layout(strategy, ranks, True, accumulation).state_bytes()[0]

    assert gpu("zero1", 1) == gpu("zero2", 1) == gpu("zero3", 1) == 16
    assert gpu("zero1", 64) == pytest.approx(4.19, abs=0.01)  # section 3 of the paper: 31.4, 16.6, 1.9 GB for 7.5 B
    assert gpu("zero2", 64) == pytest.approx(2.22, abs=0.01)
    assert gpu("zero3", 64) == 0.25
    assert gpu("zero2", 2, accumulation=2) == 2 + (4 + 12) / 2


SIZE = ModelSize(parameters=10**9, layers=20, hidden=2048)


def test_step_time_adds_up_from_the_rates():
    recipe, rates = Recipe.load(), Rates(flops=1e12, memory=1e9, local=1e8, network=1e7, host=1e6)
    flops = 2048 * (6e9 + 12 * 20 * 2048 * 256)
    assert step_flops(SIZE, recipe) == pytest.approx(flops)

    def time(strategy, ranks, rates=rates):
        return step_time(SIZE, recipe, Layout(strategy, ranks, True, 1), rates)

    alone = time("single", 1)
    assert (alone.compute, alone.optimizer, alone.communication) == pytest.approx((flops / 1e12, 28, 0))
    assert alone.seconds == pytest.approx(flops / 1e12 + 28)
    assert time("ddp", 8).optimizer == 28 and time("zero1", 8).optimizer == 3.5  # every rank updates its share
    assert time("zero3_offload", 8).optimizer == 3500
    assert time("zero2", 8).communication == pytest.approx(2 * 7 / 8 * 2 * 1e9 / 1e8)
    assert time("zero3", 16).communication == pytest.approx(3 * 15 / 16 * 2 * 1e9 / 1e7)  # leaves the machine
    slow_memory = Rates(flops=1e15, memory=1e9, local=1e8, network=1e7, host=1e6)
    assert time("single", 1, slow_memory).compute == pytest.approx(6)  # bf16 weights, read twice, gradient written


def test_a_step_of_the_paper_does_not_scale_to_more_machines():
    recipe = Recipe.load(global_batch_size=64)
    h100 = GPUS["H100"].rates()
    seconds = [step_time(SIZE, recipe, Layout("zero2", n, True, 1), h100).seconds for n in (1, 2, 8, 64)]
    assert seconds[3] > seconds[2]


def test_a_missing_accelerate_config(tiny):
    from hyperfitting.planning.plan import chosen_layout

    with pytest.raises(UserError, match="gone.yaml does not exist"):
        chosen_layout(Recipe.load(accelerate_config="gone.yaml"))


def dry_run(capsys, *values) -> str:
    assert main([*map(str, values), "--dry_run"]) == 0
    return capsys.readouterr().out


def test_on_a_machine_without_a_gpu_the_plan_is_for_its_cpu(tiny, capsys, monkeypatch):
    from hyperfitting.planning import plan

    asked = []

    def measured(dtype, processes):
        asked.append((dtype, processes))
        return Rates(flops=1e9, memory=1e9, local=1e8, network=1e8, host=1e9)

    monkeypatch.setattr(plan, "cpu_rates", measured)
    size = ["--model", tiny / "fp32", "--seq_len", 64, "--probe_contexts", 0, "--num_train", 80]
    shown = dry_run(capsys, *size)
    row = next(line for line in shown.splitlines() if line.startswith("single (chosen, this CPU)"))
    parameters, tokens = 26_000, 8 * 64  # about
    seconds = 200 * tokens * (6 * parameters + 12 * 2 * 32 * 64) / 1e9
    assert 10 < seconds < 30 and re.search(r"│ +(1|2)\d s │", row), row
    assert "fp32 computation" in shown and "1.0e+09 FLOP/s in fp32" in shown and "zero2" in shown

    monkeypatch.setattr(plan, "launch_request", lambda: LaunchRequest("ddp", 2, mixed_precision="bf16"))
    assert "ddp (chosen, this CPU)" in dry_run(capsys, *size, "--cpu") and "this CPU" not in dry_run(capsys, *size)
    assert asked == [(torch.float32, 1), (torch.bfloat16, 2)]


def test_the_rates_of_a_cpu_are_shared_by_its_processes(monkeypatch):
    monkeypatch.setattr(hardware, "matmul_rate", lambda dtype: 8e10)
    monkeypatch.setattr(hardware, "copy_rate", lambda: 3e10)
    assert hardware.cpu_rates(torch.float32, 2) == Rates(flops=4e10, memory=1.5e10, local=1e9, network=1e9, host=1.5e10)


def test_a_matrix_rate_is_measured_in_seconds_of_the_clock_it_is_given():
    now = itertools.count(step=0.5)  # every reading is half a second later
    assert hardware.matmul_rate(torch.float32, clock=lambda: next(now)) == 2 * 256**3 / 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distributed_type": "MULTI_CPU", "use_cpu": True}, "is of type MULTI_CPU.*starts one process here, not 2"),
        ({"parallelism_config": {"tp_size": 2}}, "asks for tp_size 2 on 2 process.*leave parallelism_config out"),
        ({"parallelism_config": {"cp_size": 2, "dp_shard_size": 1}}, "asks for cp_size 2"),
        (
            {"parallelism_config": {"dp_replicate_size": 2, "dp_shard_size": 4}},
            "dp_replicate_size 2, dp_shard_size 4 on 2",
        ),
        ({"ipex_config": {"ipex": False}}, "cannot be read: .*unknown keys.*ipex_config"),  # of an older Accelerate
        ({"distributed_type": "TWO_OF_THEM"}, "cannot be read"),
        ({"parallelism_config": {"dp_shard_size": 2}}, None),
        ({"parallelism_config": {}}, None),
    ],
)
def test_a_config_that_no_run_can_use_is_refused_by_the_plan_as_well(changes, message, tmp_path):
    facts = yaml.safe_load((ACCELERATE_CONFIGS / "fsdp2.yaml").read_text()) | {"num_processes": 2} | changes
    sizes = facts.get("parallelism_config", {})
    facts |= (
        {"parallelism_config": {f"parallelism_config_{name}": size for name, size in sizes.items()}} if sizes else {}
    )
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(facts))
    if message is None:
        assert read_accelerate_config(tmp_path / "config.yaml").num_processes == 2
        return
    with pytest.raises(UserError, match=message):
        read_accelerate_config(tmp_path / "config.yaml")

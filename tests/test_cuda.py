"""What only a GPU can show. Left out where there is none; `benchmarks/gpu.sh` runs it first."""

import json
import shutil

import pytest
import torch
from accelerate.state import AcceleratorState
from conftest import LAUNCH, flags, read_losses, run
from transformers import AutoModelForCausalLM, AutoTokenizer

from hyperfitting import Hyperfitter
from hyperfitting.commands.hyperfit import main
from hyperfitting.generation import Context, GenerationRunner

pytestmark = [pytest.mark.cuda, pytest.mark.slow]


def fit(*words, **values) -> None:
    """A run in this process, which earlier runs may have used with another device or precision."""
    AcceleratorState._reset_state(reset_partial_state=True)
    assert main([*flags(**values), *map(str, words)]) == 0


@pytest.fixture(scope="module")
def on_gpu(tiny, tmp_path_factory):
    """The run of the tiny recipe in fp32 on the GPU."""
    folder = tmp_path_factory.mktemp("gpu") / "run"
    where = dict(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=folder)
    fit(**where, mixed_precision="no")
    return folder


@pytest.fixture(scope="module")
def contexts(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny / "fp32")
    rows = [tokenizer(json.loads(line)["text"])["input_ids"] for line in open(tiny / "stories.jsonl")]
    return [Context(f"c{i}", "stories", tuple(ids[:16]), tuple(ids[16:40])) for i, ids in enumerate(rows)]


def differences(losses, others) -> float:
    return max(abs(a - b) for a, b in zip(losses, others, strict=True))


def test_losses_are_those_of_a_cpu(tiny, on_gpu, tmp_path):
    where = dict(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "cpu")
    fit("--cpu", **where, mixed_precision="no")
    assert differences(read_losses(on_gpu), read_losses(tmp_path / "cpu")) < 1e-3


def test_bf16_computation_moves_fp32_weights_at_the_papers_rate(tiny, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny / "bf16", dtype=torch.float32)
    before = [p.detach().clone() for p in model.parameters()]
    moved = []

    class Watched(Hyperfitter):
        def _train(self):
            super()._train()
            after = [p.detach().cpu() for p in self.model.parameters()]
            moved.append(torch.cat([(a != b).flatten() for a, b in zip(after, before, strict=True)]).float().mean())
            moved.append({p.dtype for p in self.model.parameters()})

    recipe = dict(seq_len=64, num_train=40, num_validation=5, epochs=1, probe_contexts=0, learning_rate=1e-6)
    tokenizer = AutoTokenizer.from_pretrained(tiny / "bf16")
    texts = dict(dataset=str(tiny / "stories.jsonl"), output_dir=str(tmp_path / "run"))
    AcceleratorState._reset_state(reset_partial_state=True)
    Watched(model, tokenizer, mixed_precision="bf16", **texts, **recipe).fit()
    assert moved[0] > 0.9
    assert moved[1] == {torch.float32}


def test_a_resumed_run_has_the_same_losses_bit_for_bit(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        where = dict(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run")
        fit(**where, mixed_precision="bf16")
        whole = read_losses(tmp_path / "run")
        checkpoint = tmp_path / "run" / "checkpoints" / "step_0000010"
        fit("--resume", checkpoint, **where, mixed_precision="bf16")
    finally:
        torch.use_deterministic_algorithms(False)
    assert read_losses(tmp_path / "run") == whole


@pytest.mark.parametrize("policy", ["greedy", "nucleus"])
def test_a_generation_that_goes_on_writes_the_bytes_of_a_whole_one(policy, tiny, contexts, tmp_path):
    asked = dict(policies=policy, max_length=96, ban_eos=True, batch_size=16, dtype="float32")
    for name in ("whole", "cut"):
        GenerationRunner(tiny / "fp32", output_dir=tmp_path / name, **asked).run(contexts)
    batches = sorted((tmp_path / "cut").rglob("*.jsonl"))
    for file in batches[::2]:
        file.unlink()
    (tmp_path / "cut" / "generations.jsonl").unlink(missing_ok=True)
    GenerationRunner(tiny / "fp32", output_dir=tmp_path / "cut", **asked).run(contexts)
    whole, cut = ((tmp_path / name / "generations.jsonl").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_the_batch_size_is_probed_and_a_batch_that_does_not_fit_is_split(tiny, contexts, tmp_path):
    runner = GenerationRunner(tiny / "fp32", "greedy", output_dir=tmp_path / "a", max_length=96, ban_eos=True)
    expected = runner.run(contexts)
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["batch_size"] == min(512, len(contexts))
    shutil.rmtree(tmp_path / "a")

    class Small:
        """A decoder whose device holds at most 8 texts."""

        def __init__(self, inner):
            self.inner, self.device = inner, inner.device

        def start(self, batch, max_length):
            if batch > 8:
                raise torch.OutOfMemoryError
            self.inner.start(batch, max_length)

        def next_logits(self, ids, position):
            return self.inner.next_logits(ids, position)

    runner = GenerationRunner(tiny / "fp32", "greedy", output_dir=tmp_path / "a", max_length=96, ban_eos=True)
    runner.decoder = Small(runner.decoder)
    found = runner.run(contexts)
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["batch_size"] == 8
    assert [r["continuation_ids"] for r in found] == [r["continuation_ids"] for r in expected]


@pytest.mark.parametrize("name", ["zero2", "zero3"])
def test_one_rank_of_deepspeed_has_the_losses_of_one_process(name, tiny, on_gpu, tmp_path):
    layout = ["--config_file", f"accelerate_configs/{name}.yaml", "--num_processes", 1, "--mixed_precision", "no"]
    where = dict(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run")
    words = flags(**where, mixed_precision="no")
    done = run([*LAUNCH, *layout, "launch/hyperfit.py", *words])
    assert done.returncode == 0, done.stdout + done.stderr
    assert differences(read_losses(tmp_path / "run"), read_losses(on_gpu)) < 1e-4
    done = run(
        [
            *LAUNCH,
            *layout,
            "launch/hyperfit.py",
            *flags(**{**where, "epochs": 7}, mixed_precision="no"),
            "--resume",
            "auto",
        ]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(read_losses(tmp_path / "run")) == 28

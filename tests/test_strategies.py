"""One launch of 2 real processes per accelerate config does all of that config's checks; two of them are also killed."""

import json
import random

import pytest
import torch
from conftest import read_losses, run
from killing import command, kill_all, read_whole_losses, start_and_wait_for
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from hyperfitting import Corpus
from hyperfitting.scoring.teacher_forced import measure_rows
from hyperfitting.training.steps import epoch_order

pytestmark = pytest.mark.slow

SHARDED_WEIGHTS = {"zero3", "zero3_offload", "fsdp2"}


@pytest.fixture(scope="module", params=["ddp", "zero1", "zero2", "zero3", "zero3_offload", "fsdp2"])
def strategy(request, strategy_facts):
    """(name, facts, folder) of a finished launch with the shipped accelerate config of that name."""
    return request.param, *strategy_facts(request.param)


def test_it_does_what_its_config_file_asks_for(strategy):
    name, facts, _ = strategy
    expected = {"ddp": "ddp", "fsdp2": "fsdp"}.get(name, "deepspeed")
    assert (facts["plain"]["strategy"], facts["plain"]["processes"]) == (expected, 2)
    assert facts["plain"]["chunked"]  # the reference of one process holds its logits


def test_processes_that_share_the_machine_keep_their_threads(strategy):
    """The launches say nothing of threads."""
    _, _, folder = strategy
    assert json.loads((folder / "plain" / "environment.json").read_text())["threads_per_process"] == 1


def test_losses_equal_those_of_one_process(strategy, reference):
    _, facts, _ = strategy
    expected = read_losses(reference)
    assert len(expected) == 24
    assert max(abs(a - b) for a, b in zip(facts["plain"]["losses"], expected, strict=True)) <= 1e-4
    accumulated = facts["accumulated"]["losses"]
    assert len(accumulated) == 20
    assert max(abs(a - b) for a, b in zip(accumulated, expected[:20], strict=True)) <= 1e-4


def test_the_probe_gives_the_texts_of_one_process_in_their_order(strategy, reference):
    _, _, folder = strategy
    assert (folder / "plain" / "probe" / "step_0000000.jsonl").read_text() == (
        reference / "probe" / "step_0000000.jsonl"
    ).read_text()


def test_resuming_repeats_the_losses(strategy):
    name, facts, _ = strategy
    tolerance = 1e-6 if name in SHARDED_WEIGHTS else 0.0
    pairs = zip(facts["resumed"]["losses"], facts["plain"]["losses"], strict=True)
    assert max(abs(a - b) for a, b in pairs) <= tolerance


def test_shards_are_shards(strategy):
    name, facts, _ = strategy
    if name in SHARDED_WEIGHTS:
        assert facts["plain"]["weight_share"] <= 0.6
    if name != "ddp":
        assert facts["plain"]["state_share"] <= 0.6
    else:  # everything everywhere
        assert facts["plain"]["weight_share"] == facts["plain"]["state_share"] == 1.0


def test_a_bf16_checkpoint_moves_under_fp32_masters(strategy):
    _, facts, _ = strategy
    assert facts["bf16"]["master_dtypes"] == facts["bf16"]["moment_dtypes"] == ["torch.float32"]
    assert facts["bf16"]["moved"] > 0.9


def test_gradients_are_whole_and_not_clipped(strategy, tiny, reference):
    """Adam hides a wrong scale of the gradient from the losses, and nearly hides clipping; its first moment does not."""
    name, facts, _ = strategy
    model = AutoModelForCausalLM.from_pretrained(tiny / "fp32")
    rows = Corpus.load(reference / "corpus").train[epoch_order(32, 0, 0)[:8]]
    model(input_ids=rows, labels=rows).loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()
    assert norm > 1.5  # Accelerate's and DeepSpeed's default would make it 1
    assert facts["plain"]["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    assert facts["accumulated"]["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    if name.startswith("zero"):
        assert facts["plain"]["clipping"] == [0.0, 0.0]


def test_the_saved_model_is_whole(strategy, tiny, reference):
    _, _, folder = strategy
    final = folder / "plain" / "final"
    model = AutoModelForCausalLM.from_pretrained(final)
    expected = AutoModelForCausalLM.from_pretrained(reference / "final")
    assert model.dtype == torch.float32 and model.config.tie_word_embeddings
    assert model.lm_head.weight is model.model.embed_tokens.weight
    for (name, ours), theirs in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4), name
    rows = torch.tensor(
        [json.loads(line)["input_ids"] for line in open(folder / "plain" / "corpus" / "validation.jsonl")]
    )
    after = json.loads((folder / "plain" / "result.json").read_text())["after"]
    assert measure_rows(model, rows, 8)[:, 0].mean().item() == pytest.approx(after["validation_loss"], abs=1e-4)
    assert AutoTokenizer.from_pretrained(final).get_vocab() == AutoTokenizer.from_pretrained(tiny / "fp32").get_vocab()
    assert AutoModelForCausalLM.from_pretrained(folder / "bf16" / "final").dtype == torch.bfloat16


def test_what_gets_no_gradient_from_text_is_left_out_and_saved_as_it_was(strategy, tiny):
    _, facts, folder = strategy
    before, after = (load_file(path / "model.safetensors") for path in (tiny / "tower", folder / "tower" / "final"))
    assert before.keys() == after.keys() and [len(facts[run]["losses"]) for run in ("tower", "tower_resumed")] == [1, 2]
    for name in before:
        of_images = "vision_tower" in name or "multi_modal_projector" in name
        assert torch.equal(before[name], after[name]) == of_images, name


@pytest.mark.parametrize(("name", "tolerance"), [("single", 0.0), ("zero2", 0.0), ("zero3", 1e-6)])
def test_killed_at_a_random_step_and_resumed(name, tolerance, tiny, tmp_path, reference, strategy_facts):
    whole = read_losses(reference) if name == "single" else strategy_facts(name)[0]["plain"]["losses"]
    killed, step = tmp_path / "run", random.Random().randint(11, 22)
    kill_all(start_and_wait_for(command(name, tiny, killed), killed, step))
    assert not (killed / "final").exists()
    survived = len(read_whole_losses(killed))
    done = run(command(name, tiny, killed, "--resume", "auto"))
    assert done.returncode == 0, done.stderr
    assert "resumed from" in done.stdout
    losses = read_losses(killed)
    assert len(losses) == 40, f"killed at step {survived}"
    differences = [abs(a - b) for a, b in zip(losses[: len(whole)], whole, strict=True)]
    assert max(differences) <= tolerance, f"killed at step {survived}: {differences}"

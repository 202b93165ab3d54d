import json

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import Gemma3Config, GPT2Config, LlamaConfig, LlamaForCausalLM, MixtralConfig

from hyperfitting.models import ModelSize
from hyperfitting.planning.cost_model import Layout, peak_bytes
from hyperfitting.planning.pass_memory import PassMemory, pass_memory
from hyperfitting.training.steps import next_token_loss

pytestmark = pytest.mark.slow

CONFIG = LlamaConfig(
    vocab_size=1000,
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
)


def measured_peak(bf16, gradient_checkpointing, path) -> int:
    """Bytes, by what torch's profiler says of every allocation in a real pass."""
    model, ids = LlamaForCausalLM(CONFIG).train(), torch.zeros(4, 64, dtype=torch.int64)
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(input_ids=ids, use_cache=False).logits
        loss = next_token_loss(logits, ids)
        del logits
        loss.backward()
    profiler.export_chrome_trace(str(path))
    events = [event for event in json.loads(path.read_text())["traceEvents"] if event["name"] == "[memory]"]
    now = highest = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        now += event["args"]["Bytes"]
        highest = max(highest, now)
    return highest


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_a_pass_is_counted_as_the_profiler_measures_it(bf16, gradient_checkpointing, tmp_path):
    counted = pass_memory(CONFIG, 4, 64, bf16, gradient_checkpointing)
    assert counted.everything == pytest.approx(measured_peak(bf16, gradient_checkpointing, tmp_path / "t"), rel=0.1)
    assert counted.activations < counted.everything


def test_activations_grow_linearly_with_the_rows():
    one, three, eight = (pass_memory(CONFIG, rows, 64, True, False) for rows in (1, 3, 8))
    guessed = one.between(eight, 2 / 7)
    assert guessed.activations == pytest.approx(three.activations, rel=0.02)
    assert three.everything <= guessed.everything <= eight.everything


def test_a_model_that_cannot_run_without_data_is_not_counted():
    config = MixtralConfig(vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=1)
    assert pass_memory(config, 1, 16, True, False) is None


def test_dropout_is_off_as_in_training():
    config = GPT2Config(vocab_size=1000, n_embd=64, n_layer=2, n_head=4, n_positions=64)
    without = GPT2Config(**{**config.to_dict(), "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0})
    assert pass_memory(config, 4, 64, True, False) == pass_memory(without, 4, 64, True, False)


def test_a_model_whose_constructor_reads_data_is_not_counted():
    text = dict(vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=1)
    config = Gemma3Config(
        text_config=text, vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1)
    )
    assert pass_memory(config, 1, 16, True, False) is None


def test_peaks_of_layouts():
    size, memory = ModelSize(10**9, 20, 2048), PassMemory(activations=3 * 10**9, everything=5 * 10**9)
    assert peak_bytes(size, Layout("single", 1, True, 1), memory) == (12e9 + 5e9, 0)
    assert peak_bytes(size, Layout("ddp", 8, True, 1), memory) == (18e9 + 3e9, 0)
    assert peak_bytes(size, Layout("zero3", 8, True, 1), memory) == (2e9 + 3e9, 0)
    assert peak_bytes(size, Layout("zero3_offload", 8, True, 1), memory) == (0.25e9 + 3e9, 2.25e9)
    assert peak_bytes(size, Layout("single", 1, True, 8), memory) == (18e9 + 3e9, 0)  # gradients of earlier passes stay
    assert peak_bytes(size, Layout("single", 1, True, 1), None) == (18e9, 0)

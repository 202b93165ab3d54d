"""The whole way with models of other families than Llama, by the same commands and without a special case."""

import json

import pytest
import torch
from conftest import flags
from transformers import (
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from hyperfitting.commands import generate, hyperfit, score

pytestmark = pytest.mark.slow
COMMON = dict(vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, head_dim=8, max_position_embeddings=128, bos_token_id=0, eos_token_id=0,
              pad_token_id=None)  # fmt: skip
FAMILIES = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=320, n_positions=128, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**COMMON)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**COMMON, sliding_window=16)),
}


def call(command, *words):
    assert command.main([str(word) for word in words]) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_hyperfit_generate_and_score(family, tiny, tmp_path):
    torch.manual_seed(0)
    FAMILIES[family]().to(torch.bfloat16).save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(tiny / "fp32").save_pretrained(tmp_path / "model")
    stories, run = tiny / "stories.jsonl", tmp_path / "run"
    call(hyperfit, *flags(model=tmp_path / "model", dataset=stories, output_dir=run, epochs=6, learning_rate=1e-2))
    result = json.loads((run / "result.json").read_text())
    assert result["after"]["train_loss"] < 0.7 * result["before"]["train_loss"]
    contexts = [
        "--contexts",
        f"stories={run}",
        "--num_contexts",
        5,
        "--context_len",
        16,
        "--max_length",
        64,
        "--ban_eos",
    ]
    for name, model in (("base", tmp_path / "model"), ("hyperfitted", run / "final")):
        policies = ["--policy", "greedy", "--policy", "greedy+citation_blocker", "--train_rows", run]
        call(generate, "--model", model, *contexts, *policies, "--output_dir", tmp_path / name)
    sets = [tmp_path / "base", tmp_path / "hyperfitted"]
    call(score, *sets, "--train_rows", run, "--model_scores", "--output_dir", tmp_path / "scores")
    scored = {
        c["name"]: c["scores"] for c in json.loads((tmp_path / "scores" / "scores.json").read_text())["conditions"]
    }
    assert len(scored) == 5  # two policies of two models, and the original text
    for name in ("base greedy", "hyperfitted greedy+citation_blocker"):
        assert scored[name]["ttr"]["n"] + scored[name]["ttr"]["left_out"] == 5
        assert scored[name]["perplexity_original"]["value"] > 1

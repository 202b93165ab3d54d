"""Models of other families than Llama: each family's engine, training, saving and loading; and the whole way by the commands."""

import json
from types import SimpleNamespace

import pytest
import torch
from conftest import flags
from families import LENGTH, NOT_BUILT, OTHERS, VOCABULARY, build
from torch.nn import functional
from transformers import (
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from hyperfitting import Hyperfitter
from hyperfitting.commands import generate, hyperfit, score
from hyperfitting.generation import GenerationRunner, load_contexts
from hyperfitting.generation.decoding import decode
from hyperfitting.generation.engines import ChosenOnce, FullForward, PlacedDecoder, make_decoder
from hyperfitting.models import load_config, load_for_inference, load_for_training, save_pretrained

LONGROPE = dict(
    original_max_position_embeddings=16,
    rope_parameters=dict(
        rope_type="longrope", rope_theta=10000.0, short_factor=[1.0] * 4, long_factor=[4.0] * 4, original_max_position_embeddings=16
    ),
)  # fmt: skip
EVERY_TIME = (
    "llama", "gpt2", "gemma3_text", "mixtral", "gpt_oss", "deepseek_v3", "cohere2", "llama4_text", "mamba", "rwkv", "jamba",
    "minimax", "bart", "openai-gpt", "roberta", "gemma4_text",
)  # fmt: skip
ALONE = SimpleNamespace(save=lambda folder: None)  # a codec that writes nothing beside the model


@torch.no_grad()
def full_greedy(model, contexts):
    """The texts by arg-max of the full forward, with the logits of every step: what every engine must give."""
    ids, logits = contexts, []
    while ids.shape[1] < LENGTH:
        logits.append(model(input_ids=ids, use_cache=False).logits[:, -1])
        ids = torch.cat([ids, logits[-1].argmax(-1, keepdim=True)], 1)
    return ids, torch.stack(logits, 1)


def assert_exact(decoder, texts, logits):
    """Texts and the logits of each step, (rows, steps, vocabulary), are those of the full forward."""
    start = LENGTH - logits.shape[1]
    assert torch.equal(decode(decoder, texts[:, :start], LENGTH, [], []), texts)
    with torch.inference_mode():  # as `decode`, whose cache this may be
        decoder.start(len(texts), LENGTH)
        found = [decoder.next_logits(texts[:, :start], 0)]
        found += [decoder.next_logits(texts[:, place : place + 1], place) for place in range(start, LENGTH - 1)]
    assert (torch.stack(found, 1) - logits).abs().max() <= 1e-4 * logits.abs().max()


def train_a_step(model, rows):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model.train()
    logits = model(input_ids=rows, use_cache=False).logits
    loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), rows[:, 1:].flatten())
    loss.backward()
    optimizer.step()
    assert loss.isfinite() and all(parameter.isfinite().all() for parameter in model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    return model.eval()


def check_family(model, folder):
    """Train a step, save, load and continue texts, each as the commands do it."""
    save_pretrained(model, ALONE, folder / "base")
    trained = load_for_training(str(folder / "base"), load_config(str(folder / "base")))
    rows = torch.randint(3, VOCABULARY - 10, (3, LENGTH), generator=torch.Generator().manual_seed(0))
    texts, logits = full_greedy(train_a_step(trained, rows), rows[:, :10])
    assert_exact(ChosenOnce()(trained, LENGTH), texts, logits)  # the probe
    save_pretrained(trained, ALONE, folder / "final")
    decoder = make_decoder(load_for_inference(str(folder / "final"), "float32"), LENGTH)
    assert_exact(decoder, texts, logits)
    return decoder


@pytest.mark.parametrize("family", EVERY_TIME)
def test_a_family_is_trained_saved_and_decoded_exactly(family, tmp_path):
    check_family(build(family), tmp_path)


@pytest.mark.families
@pytest.mark.parametrize("family", [name for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if name not in NOT_BUILT])
def test_every_family_is_trained_saved_and_decoded_exactly(family, tmp_path):
    """A family that a newer transformers brings is tried with the sizes of all: what it lacks belongs into tests/families.py."""
    check_family(build(family), tmp_path)


@pytest.mark.families
def test_what_is_said_of_families_is_of_families_that_there_are():
    assert {*OTHERS, *NOT_BUILT} <= MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys()
    assert not OTHERS.keys() & NOT_BUILT.keys()


def test_rotations_that_switch_within_a_text_take_the_slow_way(tmp_path):
    """Beyond 16 tokens phi3's long factors turn all keys anew, and those in a cache stay as they were."""
    model = build("phi3", **LONGROPE)
    assert type(make_decoder(model, 16)) is not FullForward
    assert type(check_family(model, tmp_path)) is FullForward


def test_the_commands_say_that_the_slow_way_is_taken(tiny, tmp_path, capsys):
    """GPT-1 keeps nothing of a text."""
    model, tokenizer = build("openai-gpt", vocab_size=320), AutoTokenizer.from_pretrained(tiny / "fp32")
    rows = dict(
        dataset=str(tiny / "stories.jsonl"), num_train=4, num_validation=2, seq_len=32, epochs=1, global_batch_size=4
    )
    probe = dict(probe_contexts=2, probe_context_len=8, probe_max_length=24, output_dir=tmp_path / "run")
    Hyperfitter(model, tokenizer, **rows, **probe).fit()
    said = capsys.readouterr().out
    assert said.count("OpenAIGPTLMHeadModel is decoded without a cache") == 1
    runner = GenerationRunner(
        tmp_path / "run" / "final", "greedy", output_dir=tmp_path / "texts", max_length=24, ban_eos=True
    )
    records = runner.run(
        load_contexts([f"run={tmp_path / 'run'}"], runner.codec, num_contexts=2, context_len=8, max_length=24)
    )
    assert capsys.readouterr().out.count("OpenAIGPTLMHeadModel is decoded without a cache") == 1
    probed = [json.loads(line) for line in max((tmp_path / "run" / "probe").glob("*.jsonl")).read_text().splitlines()]
    assert [r["continuation_ids"] for r in records] == [r["continuation_ids"] for r in probed]


def test_a_model_that_must_be_told_its_positions_keeps_its_cache(tmp_path):
    """Steps of Bamba stand at position 0 unless it is told otherwise."""
    assert type(check_family(build("bamba"), tmp_path)) is PlacedDecoder


def test_a_window_that_only_the_config_knows_does_not_cut_the_cache(tmp_path):
    """Granite attends to everything, whatever a config that was Mistral's once says; transformers' cache obeys the config."""
    assert type(check_family(build("granite", sliding_window=16), tmp_path)) is FullForward


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


@pytest.mark.slow
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

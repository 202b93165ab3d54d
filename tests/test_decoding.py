"""The decode loop, the policies and their processors, against transformers and against brute force."""

import math

import pytest
import torch
from families import build
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MinPLogitsWarper,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from hyperfitting import UserError
from hyperfitting.builtin import BUILTIN
from hyperfitting.generation import POLICIES, Policy, engines
from hyperfitting.generation.decoding import _argmax, cut_at_end, decode
from hyperfitting.generation.engines import AnyDecoder, ChosenOnce, FullForward, compared_lengths, make_decoder
from hyperfitting.generation.folder import GenerationFolder
from hyperfitting.generation.llama_decoder import LlamaDecoder
from hyperfitting.generation.processors import KeyedGumbel, MinP, RepetitionPenalty, Temperature, TopK, TopP, gumbel
from hyperfitting.generation.static_decoder import StaticDecoder
from hyperfitting.training.evaluation import greedy_continuations


def gpt2():
    torch.manual_seed(0)
    settings = dict(vocab_size=320, n_positions=128, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3)
    return GPT2LMHeadModel(GPT2Config(**settings, bos_token_id=0, eos_token_id=0)).eval()


def scaled_llama():
    """Several key groups, a head width of its own, and Llama 3's scaled rotations."""
    torch.manual_seed(0)
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    }
    config = LlamaConfig(
        vocab_size=320, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
        head_dim=16, max_position_embeddings=128, initializer_range=0.3, bos_token_id=0, eos_token_id=0,
        rope_parameters={**rope, "original_max_position_embeddings": 32},
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


MODELS = {
    "builtin": (
        lambda tiny: AutoModelForCausalLM.from_pretrained(BUILTIN["builtin/base_model"], dtype=torch.float32),
        LlamaDecoder,
    ),
    "tiny": (lambda tiny: AutoModelForCausalLM.from_pretrained(tiny / "fp32"), LlamaDecoder),
    "llama3": (lambda tiny: scaled_llama(), LlamaDecoder),
    "gpt2": (lambda tiny: gpt2(), StaticDecoder),
}
SMALL = dict(
    vocab_size=320, hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
    max_position_embeddings=128, initializer_range=0.3, bos_token_id=0, eos_token_id=0, pad_token_id=0,
)  # fmt: skip
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
FAMILIES = {
    "llama with biases": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, attention_bias=True)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, head_dim=16, sliding_window=10, layer_types=MIXED)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SMALL)),
    "qwen2 with a window": lambda: Qwen2ForCausalLM(
        Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=10, max_window_layers=1)
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SMALL, head_dim=16)),
    "gpt2": gpt2,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_the_tokens_of_generate(name):
    """Contexts below and above the window of 10, and texts that leave it."""
    torch.manual_seed(0)
    model = FAMILIES[name]().eval()
    decoder = make_decoder(model, 40)
    assert type(decoder) is StaticDecoder
    model.generation_config = GenerationConfig(do_sample=False, max_length=40, eos_token_id=None, pad_token_id=0)
    for context_len in (5, 16):
        contexts = torch.randint(1, 320, (64, context_len), generator=torch.Generator().manual_seed(0))
        expected = model.generate(contexts, attention_mask=torch.ones_like(contexts))
        assert torch.equal(decode(decoder, contexts, 40, [], []), expected)
    model(input_ids=contexts).logits.sum().backward()  # the model itself still works, and learns
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_model_that_the_engine_cannot_serve_goes_on_with_its_own_cache():
    """Gemma 2 caps its attention: the fast attention cannot, and says so before a text is made."""
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=16, sliding_window=10)).eval()
    attention = model.config._attn_implementation
    assert type(make_decoder(model, 40)) is AnyDecoder
    assert model.config._attn_implementation == attention


def test_engines_are_compared_at_every_length_that_the_config_names():
    config = Gemma3TextConfig(**SMALL, head_dim=16, sliding_window=10, layer_types=MIXED)
    assert {8, 12, 18, 39} <= set(compared_lengths(config, 40))  # the window of 10, a head of 16, what is read of 40
    assert compared_lengths(config, 9) == [8]
    assert compared_lengths(config, 2) == [1]


def test_the_slow_way_bounds_what_is_computed_at_once(monkeypatch):
    model, ids = gpt2(), torch.randint(1, 320, (5, 12), generator=torch.Generator().manual_seed(0))
    whole = decode(FullForward(model), ids, 20, [], [])
    rows = []
    forward = model.forward
    monkeypatch.setattr(engines, "TOKENS_AT_ONCE", 40)
    monkeypatch.setattr(model, "forward", lambda **inputs: rows.append(len(inputs["input_ids"])) or forward(**inputs))
    assert torch.equal(decode(FullForward(model), ids, 20, [], []), whole)
    assert max(rows) <= 3


def test_the_probe_leaves_a_model_as_it_was():
    """Rotations that grow with the text remember the longest one: rows between are turned otherwise after it."""
    torch.manual_seed(0)
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
    model = LlamaForCausalLM(LlamaConfig(**{**SMALL, "max_position_embeddings": 16}, rope_parameters=rope)).train()
    places = [parameter.data_ptr() for parameter in model.parameters()]
    row, notes = torch.arange(1, 21)[None], []
    before = model(input_ids=row, use_cache=False).logits
    engine = ChosenOnce(notes.append)
    texts = greedy_continuations(model, row[:, :8], 40, [0], engine)
    assert torch.equal(texts, greedy_continuations(model, row[:, :8], 40, [0], engine))
    assert torch.equal(model(input_ids=row, use_cache=False).logits, before)
    assert model.training and places == [parameter.data_ptr() for parameter in model.parameters()]
    assert len(notes) == 1 and "full forward for each token" in notes[0]


def test_a_model_that_computes_in_bf16_keeps_its_cache():
    """Accelerate's mixed precision leaves the weights in fp32 and computes in bf16: two ways to the same logits round differently."""
    model = build("cohere2")
    model.forward = torch.autocast("cpu", dtype=torch.bfloat16)(model.forward)
    assert type(ChosenOnce()(model, 40)) is AnyDecoder


def test_records_of_a_cache_that_is_found_wrong_are_not_continued(tmp_path):
    folder, made = GenerationFolder(tmp_path), (lambda: "f" * 32, lambda: 4)
    folder.agree({"engine": "AnyDecoder"}, *made)
    assert folder.agree({"engine": "StaticDecoder"}, *made)["engine"] == "AnyDecoder"
    with pytest.raises(UserError, match="engine was 'AnyDecoder' and is now 'FullForward'"):
        folder.agree({"engine": "FullForward"}, *made)


@pytest.mark.parametrize("size", [320, 257, 7])
def test_the_first_of_the_largest_scores_is_chosen(size):
    scores = torch.randint(0, 5, (64, size), generator=torch.Generator().manual_seed(0)).float()
    scores[3, size // 2] = float("nan")
    assert torch.equal(_argmax(scores), scores.argmax(-1, keepdim=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_greedy_equals_generate_at_every_batch_size(name, tiny):
    make, decoder_class = MODELS[name]
    model = make(tiny).eval()
    contexts = torch.randint(1, 320, (64, 16), generator=torch.Generator().manual_seed(0))
    model.generation_config = GenerationConfig(do_sample=False, max_length=96, eos_token_id=0, pad_token_id=0)
    expected = model.generate(contexts, attention_mask=torch.ones_like(contexts))
    expected = [cut_at_end(row, [0]) for row in expected[:, 16:].tolist()]
    decoder = make_decoder(model, 96)
    assert type(decoder) is decoder_class
    for size in (1, 7, 32, 64):
        rows = torch.cat([decode(decoder, part, 96, [], [0]) for part in contexts[: max(14, size)].split(size)])
        ours = [cut_at_end(row, [0])[0] for row in rows[:, 16:].tolist()]
        assert ours == [ids for ids, _ in expected[: len(ours)]]
    again = model.generate(contexts[:2], attention_mask=torch.ones_like(contexts[:2]))  # the model itself still works
    assert [cut_at_end(row, [0])[0] for row in again[:, 16:].tolist()] == [ids for ids, _ in expected[:2]]


scores = st.lists(st.floats(-8, 8, width=32), min_size=12, max_size=12, unique=True).map(
    lambda row: torch.tensor([row])
)


@settings(max_examples=200, deadline=None)
@given(scores, st.lists(st.integers(0, 11), min_size=1, max_size=6), st.floats(0.05, 0.99), st.integers(1, 12))
def test_processors_equal_those_of_transformers(scores, seen, share, k):
    ids = torch.tensor([seen])
    pairs = [
        (RepetitionPenalty(1 + share), RepetitionPenaltyLogitsProcessor(1 + share)),
        (Temperature(share), TemperatureLogitsWarper(share)),
        (TopK(k), TopKLogitsWarper(k)),
        (MinP(share), MinPLogitsWarper(share)),
        (TopP(share), TopPLogitsWarper(share)),
    ]
    for ours, theirs in pairs:
        got, expected = ours(ids, scores.clone()), theirs(ids, scores.clone())
        near_edge = isinstance(ours, TopP) and _mass_at_an_edge(scores, share)
        assert near_edge or torch.allclose(got, expected, atol=1e-6), type(ours).__name__


def _mass_at_an_edge(scores, p):
    """Whether a cumulative probability is within rounding of p, where the two sums may fall on either side."""
    return bool(((scores.softmax(-1).sort(descending=True).values.cumsum(-1) - p).abs() < 1e-5).any())


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 0.99), st.lists(st.sampled_from([0.01, 1, 4]), min_size=1, max_size=4))
def test_top_p_of_a_large_vocabulary_is_that_of_transformers(seed, p, widths):
    """Rows of which some reach p within the candidates that are sorted and others, nearly even, do not."""
    generator, ids = torch.Generator().manual_seed(seed), torch.zeros(len(widths), 3, dtype=torch.int64)
    scores = torch.randn(len(widths), 5000, generator=generator) * torch.tensor(widths)[:, None]
    scores[:, :7] = -float("inf")
    got, expected = TopP(p)(ids, scores), TopPLogitsWarper(p)(ids, scores)
    assert ((got != expected).sum(1) <= 1).all()  # the two sum in another order: at most the id at the edge
    alone = torch.cat([TopP(p)(ids[:1], row[None]) for row in scores])
    assert torch.equal(got, alone)


def test_noise_for_the_ids_that_are_left_is_that_for_all():
    scores = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    few, ids = TopK(50)(None, scores), torch.zeros(3, 9, dtype=torch.int64)
    noise = KeyedGumbel(0, ["a", "b", "c"], 4)
    expected = noise(ids, scores).masked_fill(few.isinf(), -float("inf"))
    assert torch.equal(noise(ids, few), expected)


def test_noise_samples_the_softmax():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, -3.0]])
    n = 40_000
    noise = KeyedGumbel(0, [f"r{i}" for i in range(n)], 3)
    picks = noise(torch.zeros(n, 5, dtype=torch.int64), logits.expand(n, -1)).argmax(-1)
    observed = picks.bincount(minlength=5).double() / n
    expected = logits[0].double().softmax(-1)
    assert ((observed - expected).abs() < 5 * (expected * (1 - expected) / n).sqrt()).all()  # 5 sigma
    steps = torch.stack(
        [noise(torch.zeros(n, 3 + s, dtype=torch.int64), logits.expand(n, -1)).argmax(-1) for s in range(2)]
    )
    joint = ((steps[0] == 0) & (steps[1] == 0)).double().mean()
    assert abs(joint - expected[0] ** 2) < 5 * math.sqrt(expected[0] ** 2 / n)  # steps are independent


def test_noise_is_finite_for_all_bits():
    bits = torch.tensor([-1, 0, 1, 2**31 - 1, -(2**31)], dtype=torch.int32)
    assert torch.isfinite(gumbel(bits)).all()
    everything = torch.arange(2**23, dtype=torch.int32) << 9
    assert torch.isfinite(gumbel(everything)).all()


def test_a_sample_does_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    logits, ids = torch.randn(4, 50), torch.zeros(4, 9, dtype=torch.int64)
    names = ["a-1", "a-2", "b-1", "b-2"]
    together = KeyedGumbel(7, names, 4)(ids, logits)
    alone = torch.cat([KeyedGumbel(7, [name], 4)(ids[:1], logits[i : i + 1]) for i, name in enumerate(names)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, KeyedGumbel(8, names, 4)(ids, logits))
    assert not torch.equal(together, KeyedGumbel(7, names, 5)(ids, logits))


@pytest.mark.parametrize("name", POLICIES)
def test_a_signature_parses_back_to_its_policy(name):
    for text in (name, f"{name}+citation_blocker"):
        policy = Policy.parse(text)
        assert Policy.parse(policy.signature) == policy and policy.blocked == text.endswith("blocker")


def test_the_order_of_a_policys_processors():
    class Blocker:
        def block_(ids, scores):
            return scores

    chain = Policy.parse("paper_top_p(p=0.8)+citation_blocker").processors(0, ["a"], 4, "cpu", blocker=Blocker)
    assert [type(p).__name__ for p in chain] == ["function", "Temperature", "TopK", "TopP", "KeyedGumbel"]
    assert chain[3].p == 0.8 and chain[1].temperature == 0.7 and chain[2].k == 50
    assert Policy.parse("greedy").processors(0, ["a"], 4, "cpu") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gredy", "unknown policy 'gredy', did you mean 'greedy'?"),
        ("nucleus(q=1)", "no parameter 'q', did you mean 'p'?|no parameter 'q'"),
        ("nucleus(p=2)", r"p must be in \(0, 1\]"),
        ("nucleus(p=x)", "must be a number"),
        ("paper_top_p(top_k=1.5)", "whole number"),
        ("greedy+blocker", r"only \+citation_blocker"),
        ("greedy(", "unknown policy"),
    ],
)
def test_bad_policies(text, message):
    with pytest.raises(UserError, match=message):
        Policy.parse(text)


def test_a_parameter_that_no_processor_takes_is_an_error():
    policy = Policy("greedy", (("mass", 0.1),))
    with pytest.raises(AssertionError, match="no processor takes mass"):
        policy.processors(0, ["a"], 1, "cpu")

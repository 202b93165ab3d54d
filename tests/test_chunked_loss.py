"""The loss in chunks is the loss, and so are its gradients; models that do more to their logits keep the plain one."""

import pytest
import torch
from torch import nn
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
)

from hyperfitting.training import chunked_loss
from hyperfitting.training.chunked_loss import choose_loss
from hyperfitting.training.steps import next_token_loss

SIZES = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1)
COMMON = dict(vocab_size=300, **SIZES, max_position_embeddings=64, pad_token_id=0, initializer_range=0.3)
CHUNKED = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**COMMON)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(**COMMON, tie_word_embeddings=True)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**COMMON, head_dim=8, sliding_window=8)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=64)),
    "phi, with a bias": lambda: PhiForCausalLM(PhiConfig(**{**COMMON, "num_key_value_heads": 2})),
}
PLAIN = {
    "gemma2, which caps its logits": lambda: Gemma2ForCausalLM(
        Gemma2Config(**COMMON, head_dim=8, final_logit_softcapping=2.0)
    ),
    "cohere, which scales them": lambda: CohereForCausalLM(CohereConfig(**COMMON, logit_scale=0.1)),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunked_loss, "CHUNK_BYTES", 4 * 300 * 10)  # ten positions, which does not divide 3 x 39


def made(make):
    torch.manual_seed(0)
    model = make().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("lm_head.bias"):
            nn.init.normal_(parameter)
    return model, torch.randint(1, 300, (3, 40))


def gradients(model, loss):
    model.zero_grad()
    (loss / 7).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("bf16", [False, True])
def test_loss_and_gradients_are_those_of_all_logits(name, bf16):
    model, ids = made(CHUNKED[name])
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss_of, note = choose_loss(model, model, ids[:1], len(ids))
        assert "10 positions at a time" in note
    # Another one, as each pass of Accelerate's has: torch 2.6 would take the weights that the first cast without gradients.
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        plain = next_token_loss(model(input_ids=ids, use_cache=False).logits, ids)
        loss = loss_of(ids)
    expected, found = gradients(model, plain), gradients(model, loss)
    tolerance = 1e-2 if bf16 else 1e-6
    assert loss.item() == pytest.approx(plain.item(), rel=tolerance)
    for key, gradient in expected.items():
        assert (found[key] - gradient).abs().max() <= 3 * tolerance * gradient.abs().max(), key
    assert model(input_ids=ids).logits.shape == (3, 40, 300)  # the layer is what it was


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_that_does_more_to_its_logits_keeps_them(name):
    model, ids = made(PLAIN[name])
    loss_of, note = choose_loss(model, model, ids[:1], len(ids))
    assert "are held in each pass" in note
    assert torch.equal(loss_of(ids), next_token_loss(model(input_ids=ids, use_cache=False).logits, ids))


def test_few_positions_keep_their_logits(monkeypatch):
    model, ids = made(CHUNKED["llama"])
    assert choose_loss(model, model, ids[:1, :8], 1)[1] is None  # fewer than one chunk
    monkeypatch.setattr(chunked_loss, "CHUNK_BYTES", 4 * 300)
    assert choose_loss(model, model, ids[:1, :16], 1)[1] is not None
    model.to(torch.bfloat16)  # the gradient of its head would be held in fp32
    assert choose_loss(model, model, ids[:1, :16], 1)[1] is None
    assert choose_loss(model, model, ids[:1, :18], 1)[1] is not None

"""Models that are random in training, other than by dropout: what is trained is what generates."""

import random

import pytest
import torch
from conftest import read_losses
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from hyperfitting import Corpus, Hyperfitter, UserError
from hyperfitting.models import disable_dropout, quieten
from hyperfitting.training.steps import epoch_order, next_token_loss

SIZES = dict(vocab_size=320, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, bos_token_id=0, eos_token_id=0, pad_token_id=None)  # fmt: skip
EXPERTS = dict(num_local_experts=4, num_experts_per_tok=2)
ROW = torch.arange(40)[None]


def build(kind, **changes):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SIZES, **changes})).eval()


def with_layer(layer):
    """A Llama whose last layer ends in another module."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    model.model.norm = nn.Sequential(model.model.norm, layer)
    return model.eval()


class Doubting(nn.Module):
    """Noise by another generator than torch's, under a name that tells nothing."""

    def forward(self, hidden):
        return hidden * random.uniform(0.9, 1.1) if self.training else hidden


class Unsteady(nn.Module):
    def forward(self, hidden):
        return hidden + torch.rand(()).item()


class Batched(nn.BatchNorm1d):
    def forward(self, hidden):
        return super().forward(hidden[0])[None]


RANDOM = {
    "routers that sample": (lambda: build("phimoe", **EXPERTS), ["PhimoeTopKRouter"]),
    "and inputs with noise": (
        lambda: build("phimoe", **EXPERTS, input_jitter_noise=0.01),
        ["PhimoeSparseMoeBlock", "PhimoeTopKRouter"],
    ),
    "jitter": (lambda: build("mixtral", **EXPERTS, router_jitter_noise=1e-4), ["MixtralSparseMoeBlock"]),
    "numbers that are drawn and not used": (
        lambda: build("opt", ffn_dim=48, word_embed_proj_dim=32, layerdrop=0.0),
        ["OPTDecoder"],
    ),
    "another generator": (lambda: with_layer(Doubting()), ["Doubting"]),
    "statistics": (lambda: with_layer(Batched(32)), ["Batched"]),
    "nothing": (lambda: build("mixtral", **EXPERTS), []),
}


@pytest.mark.parametrize("kind", RANDOM)
def test_a_training_pass_computes_what_inference_does(kind):
    make, expected = RANDOM[kind]
    model = make()
    disable_dropout(model)
    states = torch.get_rng_state(), random.getstate()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    settings = model.config.to_dict()
    if kind.startswith("numbers"):
        model.model.decoder.layerdrop = 1e-9
    assert quieten(model, model, ROW, kind) == expected
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert model.config.to_dict() == settings  # PhiMoE reads its jitter in inference as well
    model.train()
    trained = [model(input_ids=ROW).logits for _ in range(2)]
    model.eval()
    assert torch.equal(*trained) and torch.equal(trained[0], model(input_ids=ROW).logits)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())


def test_a_model_that_is_random_in_inference_too_is_refused():
    with pytest.raises(UserError, match=r"'unsteady' \(LlamaForCausalLM\) is random in inference too"):
        quieten(*[with_layer(Unsteady())] * 2, ROW, "unsteady")


def test_a_run_trains_the_function_that_generates(tiny, tmp_path, capsys):
    model = build("phimoe", **EXPERTS, initializer_range=0.2)
    rows = dict(seq_len=48, num_train=8, num_validation=2, epochs=1, probe_contexts=0)
    run = tmp_path / "run"
    fitter = Hyperfitter(model, tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=run, **rows)
    ids = None

    def measured(*_):
        nonlocal ids
        ids = Corpus.load(run / "corpus").train[epoch_order(8, 0, 0)]
        with torch.no_grad():
            measured.loss = float(next_token_loss(model.eval()(input_ids=ids).logits, ids)) / (8 * 47)
        model.train()

    fitter._evaluate, evaluate = lambda: (measured() if ids is None else None, evaluate())[1], fitter._evaluate
    fitter.fit()
    assert "PhimoeTopKRouter: kept in evaluation mode" in capsys.readouterr().out
    assert read_losses(run)[0] == pytest.approx(measured.loss, abs=1e-5)

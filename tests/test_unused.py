"""Parameters that no text trains are left out; experts that no token was sent to are not."""

import pytest
import torch
from conftest import make_tower
from test_quiet import EXPERTS, ROW, build
from torch import nn
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from hyperfitting import Hyperfitter, UserError
from hyperfitting.models import find_unused


class OneOf(nn.Module):
    """Experts as a list, each of which runs only where a token is sent to it: by the sign of the token's first number."""

    def __init__(self, experts, chosen):
        super().__init__()
        self.experts, self.chosen = experts, chosen

    def forward(self, hidden):
        for key, expert in self.experts.named_children():
            if key in self.chosen(hidden):
                hidden = hidden + expert(hidden)
        return hidden


def with_experts(experts, chosen):
    model = build("llama")
    model.model.norm = nn.Sequential(model.model.norm, OneOf(experts, chosen))
    return model


class OtherLayer(nn.Linear):
    pass


def linear():
    return nn.Linear(32, 32)


def by_length(hidden):
    return "01" if hidden.shape[1] > 1 else "0"


def with_first_layer_frozen():
    model = build("llama", num_hidden_layers=2)
    model.model.layers[0].requires_grad_(False)
    return model


# What is made -> parts of the names that are unused, and of those that are not used by every row.
MODELS = {
    "all are used": (lambda: build("mixtral", **EXPERTS), [], []),
    "experts in one tensor": (lambda: build("qwen3_moe", **EXPERTS, moe_intermediate_size=16), [], []),
    "attention to an encoder that is not there": (
        lambda: build(
            "bart", encoder_layers=1, decoder_layers=1, decoder_ffn_dim=16, d_model=32, decoder_attention_heads=4
        ),
        ["encoder_attn"],
        [],
    ),
    "experts that one token does not choose": (
        lambda: with_experts(nn.ModuleList([linear(), linear()]), by_length),
        [],
        ["experts.1."],
    ),
    "an expert that the row does not choose": (
        lambda: with_experts(nn.ModuleDict({"0": linear(), "1": linear(), "2": linear()}), by_length),
        [],
        ["experts.1.", "experts.2."],
    ),
    "a layer of another class that is passed by": (
        lambda: with_experts(nn.ModuleList([linear(), linear(), OtherLayer(32, 32)]), lambda hidden: "01"),
        ["experts.2."],
        [],
    ),
    "a layer that its owner froze": (with_first_layer_frozen, ["layers.0."], []),  # beside one of its class
    "a list that nothing uses": (
        lambda: with_experts(nn.ModuleList([linear()]), lambda hidden: ""),
        ["experts.0."],
        [],
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_what_gets_no_gradient_is_told_from_what_got_none(kind):
    make, *expected = MODELS[kind]
    model = make()
    found = find_unused(model, ROW)
    for names, parts in zip(found, expected, strict=True):
        assert names == {name for name, _ in model.named_parameters() if any(part in name for part in parts)}
    model.train()
    model(input_ids=ROW).logits.sum().backward()
    assert all(parameter.grad is None for name, parameter in model.named_parameters() if name in found[0])
    assert not any(
        parameter.grad is None for name, parameter in model.named_parameters() if name not in set.union(*found)
    )


RUN = dict(seq_len=48, num_train=8, num_validation=2, epochs=2, learning_rate=1e-3, probe_contexts=0)


def test_a_tower_is_left_out_said_and_saved_as_it_was(tiny, tmp_path, capsys):
    folder, run = make_tower(tiny), tmp_path / "run"
    fitter = Hyperfitter(folder, dataset=tiny / "stories.jsonl", output_dir=run, weight_decay=0.1, **RUN)
    inside, train = {}, fitter._train

    def noted():
        inside["optimized"] = sum(p.numel() for group in fitter.optimizer.param_groups for p in group["params"])
        inside["trained"] = sum(p.numel() for p in fitter.model.parameters() if p.requires_grad)
        train()

    fitter._train = noted
    fitter.fit()
    assert inside["optimized"] == inside["trained"] == 25952
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "35,072 parameters get no gradient from a training row and stay as they are: model.multi_modal_projector, "
        in said
    )
    before, after = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (folder, run / "final"))
    for name in before:
        of_images = "vision_tower" in name or "multi_modal" in name
        assert torch.equal(before[name], after[name]) == of_images, name


def test_a_given_model_with_adapters_or_without_anything_to_train_is_refused(tiny, tmp_path):
    model = LlamaForCausalLM.from_pretrained(tiny / "fp32")
    model.requires_grad_(False)
    where = dict(dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run", **RUN)
    with pytest.raises(UserError, match="no parameter of .* gets a gradient: set requires_grad"):
        Hyperfitter(model, tiny / "fp32", **where).fit()
    model.peft_config = {"default": None}  # as peft's models have, and transformers' with an adapter
    with pytest.raises(UserError, match="holds adapters, which final/ would not"):
        Hyperfitter(model, tiny / "fp32", **where).fit()

"""Checkpoints that are not what their config says, and fingerprints that see every weight."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel

from hyperfitting import Hyperfitter, UserError
from hyperfitting.codec import load_codec
from hyperfitting.commands import score
from hyperfitting.generation import Context, GenerationRunner
from hyperfitting.models import (
    check_causal,
    end_ids,
    load_config,
    load_for_inference,
    load_for_training,
    model_fingerprint,
    stored_fingerprint,
)
from hyperfitting.models.ties import with_true_ties
from hyperfitting.training.evaluation import greedy_continuations
from hyperfitting.training.unsharding import unsharded_copy


@pytest.fixture
def copy(tiny, tmp_path):
    """A function: change the tensors and the config of a copy of the tiny model, and return its folder."""

    def change(tensors=lambda weights: weights, name="changed", **config):
        folder = tmp_path / name
        shutil.copytree(tiny / "fp32", folder)
        save_file(tensors(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
        facts = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**facts, **config}))
        return folder

    return change


def without(*names):
    return lambda weights: {name: weight for name, weight in weights.items() if name not in names}


def renamed(weights):
    return {name.replace("model.layers", "transformer.h"): weight for name, weight in weights.items()}


def renamed_head(weights):
    return {name.replace("model.embed_tokens", "lm_head"): weight for name, weight in weights.items()}


WRONG = {
    "a tensor missing": (dict(tensors=without("model.norm.weight")), r"1 are missing \(model.norm.weight\)"),
    "another naming": (dict(tensors=renamed), "18 are missing"),
    "fewer layers in the config": (dict(num_hidden_layers=1), r"9 are not the model's \(model.layers.1"),
    "a layer's part that the class lacks": (
        dict(tensors=lambda w: w | {"model.layers.0.self_attn.q_norm.weight": torch.ones(8)}),
        "1 are not the model's",
    ),
    "another shape": (dict(intermediate_size=48), "cannot be loaded"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_weights_that_do_not_fit_their_config_are_refused(mistake, copy):
    change, message = WRONG[mistake]
    folder = copy(**change)
    with pytest.raises(UserError, match=message):
        load_for_inference(str(folder), "float32")
    with pytest.raises(UserError, match=message):
        load_for_training(str(folder), load_config(str(folder)))


def tied_to(value):
    """A change of tensors: store an output layer beside the embeddings that the config ties it to."""
    return lambda weights: weights | {"lm_head.weight": value(weights["model.embed_tokens.weight"])}


TINY_FIT = dict(seq_len=32, num_train=8, num_validation=2, epochs=1, learning_rate=1e-3, probe_contexts=0)


def test_a_head_that_the_config_ties_and_the_file_does_not_is_trained_and_saved(tiny, copy, tmp_path):
    """transformers loads what the file holds; a model built of that config would be tied, and another one."""
    folder = copy(tied_to(lambda weight: weight.flip(0)))
    with pytest.warns(UserWarning, match="ties lm_head.weight to the embeddings, but its file holds other values"):
        result = Hyperfitter(folder, dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run", **TINY_FIT).fit()
    ids = torch.arange(6)[None]
    with pytest.warns(UserWarning, match="holds other values"):
        assert torch.equal(
            load_for_inference(str(folder), "float32")(ids).logits,
            AutoModelForCausalLM.from_pretrained(folder)(ids).logits,
        )
    final = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "final")
    assert result.after["train_loss"] < result.before["train_loss"] and not final.config.tie_word_embeddings
    source = load_file(folder / "model.safetensors")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        moved = (final.get_parameter(name) - source[name]).abs()
        assert 0 < moved.max() < 2e-3, name  # two steps' worth: each is trained from its own values


@pytest.mark.parametrize("value", [torch.clone, lambda weight: weight[:, :0]], ids=["the same twice", "another shape"])
def test_a_head_that_is_stored_twice(value, copy):
    folder = str(copy(tied_to(value)))
    if value is not torch.clone:
        with pytest.raises(UserError, match="holds other values|cannot be loaded"):
            load_for_inference(folder, "float32")
        return
    model = load_for_inference(folder, "float32")
    assert model.config.tie_word_embeddings and model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize(
    "change", [tied_to(torch.clone), renamed_head], ids=["the same twice", "under the other's name"]
)
def test_texts_of_a_model_that_stores_ties_otherwise_are_scored_with_it(change, tiny, copy, tmp_path):
    """Its folder's fingerprint is not that of the model in memory, which holds what is tied once."""
    folder = copy(change)
    runner = GenerationRunner(folder, "greedy", output_dir=tmp_path / "g", max_length=12)
    runner.run([Context("a", "b", (1, 2, 3, 4), (5, 6, 7, 8))])
    words = [tmp_path / "g", "--model_scores", "--metrics", "loss_original", "--output_dir", tmp_path / "scores"]
    assert score.main([str(word) for word in words]) == 0


def test_ties_that_only_some_tensors_break_are_refused(copy):
    class Three:
        _tied_weights_keys = {
            "lm_head.weight": "model.embed_tokens.weight",
            "encoder.weight": "model.embed_tokens.weight",
        }

    folder = str(copy(tied_to(lambda weight: weight + 1)))
    with pytest.raises(
        UserError, match="holds another value of lm_head.weight alone: set tie_word_embeddings to false"
    ):
        with_true_ties(load_config(folder), Three, folder)


def test_a_given_model_that_is_not_tied_as_its_config_says_is_refused(tiny, copy, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(copy(tied_to(lambda weight: -weight)))
    with pytest.raises(UserError, match="ties lm_head.weight to other tensors, but the model holds other values"):
        Hyperfitter(model, tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run", **TINY_FIT).fit()


def test_a_model_that_would_not_load_again_is_refused(tiny, tmp_path):
    from transformers import MllamaForCausalLM
    from transformers.models.mllama.configuration_mllama import MllamaTextConfig

    sizes = dict(vocab_size=320, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    text = MllamaTextConfig(**sizes, num_key_value_heads=2, cross_attention_layers=[1], pad_token_id=0)
    model = MllamaForCausalLM(text)
    with pytest.raises(
        UserError, match="is loaded as MllamaForCausalLM, which transformers saves as 'mllama_text_model' and can"
    ):
        Hyperfitter(model, tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run", **TINY_FIT).fit()


def test_a_part_that_is_not_used_is_said(copy):
    folder = copy(lambda weights: weights | {"vision_tower.encoder.0.weight": torch.ones(3)})
    with pytest.warns(UserWarning, match="parts that are not used here are left out: vision_tower.encoder"):
        load_for_inference(str(folder), "float32")


@pytest.mark.parametrize("damage", ["truncated", "no tokenizer", "quantised"])
def test_what_cannot_be_read_is_one_message(damage, copy, tmp_path):
    folder = copy(**({"quantization_config": {"quant_method": "gptq", "bits": 4}} if damage == "quantised" else {}))
    if damage == "truncated":
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    if damage == "no tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be loaded"):
        GenerationRunner(folder, "greedy", output_dir=tmp_path / "g", max_length=20)


def bert():
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    return BertLMHeadModel(BertConfig(vocab_size=320, initializer_range=0.2, **sizes))


def test_a_model_that_sees_later_tokens_is_refused(tiny, tmp_path):
    check_causal(AutoModelForCausalLM.from_pretrained(tiny / "fp32"), "tiny")
    with pytest.raises(UserError, match="'bert' is no causal model"):
        check_causal(bert(), "bert")
    with pytest.raises(UserError, match="is no causal model"):
        GenerationRunner(bert(), "greedy", tokenizer=tiny / "fp32", output_dir=tmp_path / "g", max_length=20)
    texts = dict(dataset=tiny / "stories.jsonl", seq_len=32, num_train=8, num_validation=2, probe_contexts=0)
    with pytest.raises(UserError, match="is no causal model"):
        Hyperfitter(bert(), tiny / "fp32", output_dir=tmp_path / "run", **texts).fit()


def test_the_fingerprint_sees_every_weight_and_no_dtype(tiny, copy):
    whole = stored_fingerprint(str(tiny / "bf16"))
    assert whole == model_fingerprint(AutoModelForCausalLM.from_pretrained(tiny / "bf16", dtype=torch.float32))
    assert whole == model_fingerprint(AutoModelForCausalLM.from_pretrained(tiny / "bf16"))

    def one_value(weights):
        weights["model.embed_tokens.weight"][137, 5] += 1e-3  # which samples would miss
        return weights

    assert stored_fingerprint(str(copy(one_value))) != stored_fingerprint(str(tiny / "fp32"))
    split = AutoModelForCausalLM.from_pretrained(tiny / "bf16")
    split.save_pretrained(tiny.parent / "split", max_shard_size="20KB")
    assert len(list((tiny.parent / "split").glob("*.safetensors"))) > 1
    assert stored_fingerprint(str(tiny.parent / "split")) == whole


def test_a_copy_ends_texts_where_its_source_does(tiny, tmp_path):
    model, codec = AutoModelForCausalLM.from_pretrained(tiny / "fp32"), load_codec(str(tiny / "fp32"))
    model.generation_config.update(eos_token_id=[2, 300], pad_token_id=7, temperature=3.0, top_k=4, do_sample=True)
    copy = unsharded_copy(model, type(model), torch.float32, "cpu", here=True)
    from hyperfitting.models import save_pretrained

    save_pretrained(copy, codec, tmp_path / "final")
    saved = json.loads((tmp_path / "final" / "generation_config.json").read_text())
    assert (saved["eos_token_id"], saved["pad_token_id"]) == ([2, 300], 7)
    assert not saved.get("do_sample") and "temperature" not in saved and "top_k" not in saved
    assert model.generation_config.temperature == 3.0
    assert end_ids(AutoModelForCausalLM.from_pretrained(tmp_path / "final"), codec) == {2, 300, *codec.end_ids}


def test_an_end_beyond_the_vocabulary_need_not_be_banned(tiny):
    model, codec = AutoModelForCausalLM.from_pretrained(tiny / "fp32"), load_codec(str(tiny / "fp32"))
    model.generation_config.eos_token_id = [0, 5000]
    assert end_ids(model, codec) == {0}
    assert greedy_continuations(model, torch.arange(6)[None], 12, sorted(end_ids(model, codec))).shape == (1, 6)

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from hyperfitting.validation import MEASURES, greedy_continuations, measure_share, row_measures, summarize_texts


def test_measures_equal_their_definitions():
    torch.manual_seed(0)
    logits, targets = torch.randn(7, 11) * 3, torch.randint(0, 11, (7,))
    probabilities = torch.softmax(logits.double(), -1)
    ordered = probabilities.sort(-1, descending=True).values
    expected = {
        "loss": -probabilities[range(7), targets].log().mean(),
        "entropy": -(probabilities * probabilities.log()).sum(-1).mean(),
        "mass_top1": ordered[:, 0].mean(),
        "mass_top3": ordered[:, :3].sum(-1).mean(),
        "mass_top5": ordered[:, :5].sum(-1).mean(),
        "top1_accuracy": (logits.argmax(-1) == targets).double().mean(),
    }
    measured = dict(zip(MEASURES, row_measures(logits, targets).tolist(), strict=True))
    assert measured == pytest.approx({name: value.item() for name, value in expected.items()}, abs=1e-5)


def test_a_uniform_model_has_the_entropy_of_its_vocabulary():
    measured = row_measures(torch.zeros(4, 16), torch.arange(4))
    assert measured[:2].tolist() == pytest.approx([math.log(16)] * 2)


def test_batches_do_not_change_the_measures(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny / "fp32")
    rows = torch.randint(0, 320, (5, 30), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(measure_share(model, rows, 2), measure_share(model, rows, 5), atol=1e-5)


def test_the_checkpoints_generation_settings_do_not_leak(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny / "fp32")
    contexts = torch.arange(12).view(2, 6)
    clean = greedy_continuations(model, contexts, 30, [0])
    model.generation_config.update(do_sample=True, temperature=9.0, repetition_penalty=5.0, max_new_tokens=3, top_k=1)
    assert torch.equal(greedy_continuations(model, contexts, 30, [0]), clean)
    assert clean.shape == (2, 24) and not (clean == 0).any()
    assert model.generation_config.temperature == 9.0


def test_short_texts_are_counted_not_averaged():
    summary = summarize_texts([list(range(100)), list(range(95))])
    assert (summary["ttr"], summary["n_texts"], summary["n_too_short"]) == (1.0, 2, 1)
    assert summarize_texts([[1, 2]])["ttr"] is None

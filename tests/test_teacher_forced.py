"""What a model says of given texts, position by position."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from hyperfitting.scoring.teacher_forced import MEASURES, measure_continuations, position_measures


def test_measures_equal_their_definitions():
    torch.manual_seed(0)
    logits, targets = torch.randn(7, 11) * 3, torch.randint(0, 11, (7,))
    probabilities = torch.softmax(logits.double(), -1)
    ordered = probabilities.sort(-1, descending=True).values
    expected = {
        "loss": -probabilities[range(7), targets].log(),
        "entropy": -(probabilities * probabilities.log()).sum(-1),
        "mass_top1": ordered[:, 0],
        "mass_top3": ordered[:, :3].sum(-1),
        "mass_top5": ordered[:, :5].sum(-1),
        "top1_accuracy": (logits.argmax(-1) == targets).double(),
    }
    measured = position_measures(logits, targets)
    assert measured.shape == (7, len(MEASURES)) and measured.dtype == torch.float32
    for column, name in enumerate(MEASURES):
        assert measured[:, column].tolist() == pytest.approx(expected[name].tolist(), abs=1e-5), name


def test_a_uniform_model_has_the_entropy_of_its_vocabulary():
    measured = position_measures(torch.zeros(4, 16, dtype=torch.bfloat16), torch.arange(4))
    assert measured[:, :2].tolist() == pytest.approx(np.full((4, 2), math.log(16)))
    assert measured[:, 2:5].tolist() == pytest.approx(np.array([[1 / 16, 3 / 16, 5 / 16]] * 4))


@pytest.fixture(scope="module")
def model(tiny):
    return AutoModelForCausalLM.from_pretrained(tiny / "fp32", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def texts():
    """Contexts and continuations of several lengths, one without a continuation."""
    rng = np.random.default_rng(0)
    contexts = [rng.integers(1, 320, n).tolist() for n in (8, 1, 20, 8, 5)]
    return contexts, [rng.integers(1, 320, n).tolist() for n in (30, 7, 1, 0, 60)]


def test_every_token_of_a_continuation_is_measured_as_in_a_pass_of_its_own(model, texts):
    seen = []
    measured = measure_continuations(model, *texts, batch_size=3, advance=seen.append)
    assert seen == [3, 2]
    for context, continuation, found in zip(*texts, measured, strict=True):
        assert found.shape == (len(continuation), 6) and found.dtype == np.float64
        for place, token in enumerate(continuation):
            with torch.no_grad():
                logits = model(torch.tensor([context + continuation[:place]])).logits[0, -1]
            probabilities = logits.double().softmax(-1)
            ordered = probabilities.sort(descending=True).values
            expected = [-probabilities[token].log(), -(probabilities * probabilities.log()).sum()]
            expected += [ordered[:k].sum() for k in (1, 3, 5)]
            expected.append(torch.tensor(float(probabilities.argmax() == token)))
            assert found[place] == pytest.approx([value.item() for value in expected], abs=1e-5)


def test_batches_and_padding_do_not_change_the_measures(model, texts):
    alone = measure_continuations(model, *texts, batch_size=1)
    for batch_size in (2, 5):
        for a, b in zip(alone, measure_continuations(model, *texts, batch_size=batch_size), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)

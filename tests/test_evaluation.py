import torch
from transformers import AutoModelForCausalLM

from hyperfitting.scoring.teacher_forced import measure_rows
from hyperfitting.training.evaluation import greedy_continuations, summarize_texts


def test_batches_do_not_change_the_measures(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny / "fp32")
    rows = torch.randint(0, 320, (5, 30), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(measure_rows(model, rows, 2), measure_rows(model, rows, 5), atol=1e-5)


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

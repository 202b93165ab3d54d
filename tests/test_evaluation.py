import json

import torch
from transformers import AutoModelForCausalLM

from hyperfitting import Recipe
from hyperfitting.scoring.teacher_forced import measure_rows
from hyperfitting.training.evaluation import Evaluation, greedy_continuations, summarize_texts
from hyperfitting.training.progress import evaluation_steps


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


MEASURED = "train_loss validation_loss entropy mass_top1 mass_top3 mass_top5 top1_accuracy".split()


def evaluations(folder) -> list[dict]:
    return [r for r in map(json.loads, (folder / "metrics.jsonl").open()) if r["kind"] == "evaluation"]


def test_an_evaluation_is_the_record_of_metrics_jsonl(reference):
    record = evaluations(reference)[-1]
    record.pop("time")
    assert Evaluation.from_json(record).to_json() == record
    assert set(record) == {
        *("kind", "step", "epoch", "epoch_train_loss", "perplexity", "n_rows", "n_train_rows", "n_texts"),
        *("n_too_short", "original_ttr", "original_ttr_ci", "original_rep_4"),
        *(f"{name}{end}" for name in (*MEASURED, "ttr", "rep_4", "loop_rate") for end in ("", "_ci")),
    }


def test_a_record_without_a_probe_or_of_an_older_version_is_read():
    old = {"kind": "evaluation", "step": 4, "epoch": 1.0, "validation_loss": 2.5, "strange": 1, "time": 0.0}
    evaluation = Evaluation.from_json(old)
    assert evaluation.line() == "epoch  1.00  step     4  validation loss 2.500"
    assert list(evaluation.compared(evaluation)) == [("validation loss, nats", "2.500", "2.500", "")]
    assert not {"ttr", "ttr_ci", "n_texts", "original_rep_4"} & set(evaluation.to_json())


def test_an_evaluation_prints_with_interval_and_the_original_text():
    before = Evaluation(step=0, epoch=0.0, ttr=0.2, ttr_ci=(0.1, 0.3), n_texts=3)
    after = Evaluation(step=9, epoch=2.0, ttr=0.6, ttr_ci=(0.5, 0.7), n_texts=3, original_ttr=0.75)
    assert after.line() == "epoch  2.00  step     9  TTR 0.600 (original 0.750)"
    expected = ("TTR of greedy continuations", "0.200 [0.100, 0.300]", "0.600 [0.500, 0.700]", "0.750")
    assert list(after.compared(before)) == [expected]


def test_evaluations_that_are_still_to_come_are_known():
    recipe = Recipe.load(num_train=32, global_batch_size=8, epochs=3, eval_steps=5, keep_early_stopped=True)
    assert evaluation_steps(recipe) == [0, 1, 2, 3, 4, 5, 10, 12]

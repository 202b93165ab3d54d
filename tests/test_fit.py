"""What a user of `Hyperfitter` relies on, in one process."""

import json

import pytest
import torch
from conftest import TINY_RECIPE, read_losses
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from hyperfitting import Hyperfitter, TrainingError, UserError

pytestmark = pytest.mark.slow


def fitter(tiny, folder, **changes):
    values = {**TINY_RECIPE, "model": tiny / "fp32", "dataset": tiny / "stories.jsonl", "output_dir": folder, **changes}
    return Hyperfitter(values.pop("model"), **values)


def test_the_run_holds_what_later_stages_read(reference, tiny):
    names = {path.name for path in reference.iterdir()} - {".lock"}
    assert names == {
        "recipe.yaml",
        "environment.json",
        "corpus",
        "metrics.jsonl",
        "probe",
        "checkpoints",
        "final",
        "curves.png",
        "result.json",
    }
    environment = json.loads((reference / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__ and environment["num_processes"] == 1
    result = json.loads((reference / "result.json").read_text())
    assert result["stop_reason"] == "epochs" and result["steps"] == 24
    assert result["after"]["train_loss"] < result["before"]["train_loss"]
    assert {path.name for path in (reference / "checkpoints").iterdir()} == {
        "step_0000010",
        "step_0000020",
        "step_0000024",
    }
    rows = [json.loads(line) for line in (reference / "probe" / "step_0000024.jsonl").read_text().splitlines()]
    assert [len(row["continuation_ids"]) for row in rows] == [104] * 3
    card = (reference / "final" / "README.md").read_text()
    assert card.startswith("---\n") and f"{result['after']['validation_loss']:.3f}" in card
    saved = json.loads((reference / "final" / "generation_config.json").read_text())
    assert not saved.get("do_sample") and "temperature" not in saved and "top_k" not in saved


def test_probe_is_greedy_without_end_of_sequence(reference, tiny):
    rows = [json.loads(line) for line in (reference / "probe" / "step_0000000.jsonl").read_text().splitlines()]
    model = AutoModelForCausalLM.from_pretrained(tiny / "fp32")
    ids = torch.tensor([row["context_ids"] for row in rows])
    for _ in range(20):
        logits = model(ids).logits[:, -1]
        logits[:, model.config.eos_token_id] = -torch.inf
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    assert ids[:, 8:].tolist() == [row["continuation_ids"][:20] for row in rows]


def test_losses_are_those_of_a_plain_loop(reference, tiny):
    from hyperfitting.corpus import Corpus
    from hyperfitting.training.steps import epoch_order

    model = AutoModelForCausalLM.from_pretrained(tiny / "fp32", dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    rows, losses = Corpus.load(reference / "corpus").train, []
    for epoch in range(2):
        for batch in epoch_order(32, 0, epoch).split(8):
            loss = model(input_ids=rows[batch], labels=rows[batch]).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert read_losses(reference)[:8] == pytest.approx(losses, abs=1e-5)


def test_loaded_model_and_tokenizer_and_rows(tiny, tmp_path, reference):
    from hyperfitting.corpus import Corpus

    model = AutoModelForCausalLM.from_pretrained(tiny / "bf16", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny / "bf16")
    corpus = Corpus.load(reference / "corpus")
    values = {key: value for key, value in TINY_RECIPE.items() if key not in ("seq_len", "num_train", "num_validation")}
    result = Hyperfitter(model, tokenizer, corpus=corpus, output_dir=tmp_path / "run", **values).fit()
    assert read_losses(tmp_path / "run") == read_losses(reference)
    assert result.after["validation_loss"] == result.history[-1]["validation_loss"]
    assert AutoModelForCausalLM.from_pretrained(result.final_dir).dtype == torch.float32


def test_pure_bf16_is_refused(tiny, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny / "bf16", dtype=torch.bfloat16)
    with pytest.raises(UserError, match="dtype=torch.float32"):
        Hyperfitter(
            model, tiny / "bf16", **{**TINY_RECIPE, "dataset": tiny / "stories.jsonl", "output_dir": tmp_path / "r"}
        ).fit()


def test_every_dropout_is_off(tiny, tmp_path, reference):
    from hyperfitting.models import check_no_dropout

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=320, n_positions=128, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    )
    with pytest.raises(AssertionError, match="Dropout.p"):
        check_no_dropout(model)
    run = Hyperfitter(
        model,
        tiny / "fp32",
        **{**TINY_RECIPE, "dataset": tiny / "stories.jsonl", "output_dir": tmp_path / "r", "epochs": 1},
    )
    run.fit()
    check_no_dropout(model)
    ids = torch.arange(20)[None]
    assert model.training and torch.equal(model(ids).logits, model(ids).logits)


def test_a_non_finite_loss_stops_the_run_and_saves_nothing(tiny, tmp_path):
    run = fitter(tiny, tmp_path / "run", learning_rate=1e30)
    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf) on rank 0 at step 3 \(epoch 0.50\).*which there is not yet"
    ):
        run.fit()
    assert run.progress.step <= 4  # at most one step after the bad one
    assert len(read_losses(tmp_path / "run")) == 2
    assert not (tmp_path / "run" / "checkpoints").exists() and not (tmp_path / "run" / "final").exists()


def test_a_non_finite_weight_is_never_saved(tiny, tmp_path):
    class Poisoned(Hyperfitter):
        def _read_losses(self, late=False):
            super()._read_losses(late)
            if self.progress.step == 10:
                with torch.no_grad():
                    next(self.model.parameters())[0] = torch.nan

    values = {**TINY_RECIPE, "dataset": tiny / "stories.jsonl", "output_dir": tmp_path / "run"}
    with pytest.raises(TrainingError, match="weight is not finite.* at step 10"):
        Poisoned(tiny / "fp32", **values).fit()
    assert not list((tmp_path / "run").glob("checkpoints/step*"))


def test_stops_at_a_loss(tiny, tmp_path, reference):
    losses = read_losses(reference)
    second_epoch = sum(losses[4:8]) / 4
    result = fitter(tiny, tmp_path / "run", stop_at_loss=second_epoch + 1e-6).fit()
    assert (result.stop_reason, result.steps) == ("stop_at_loss", 8)
    assert result.after["epoch_train_loss"] == pytest.approx(second_epoch, abs=1e-5) and result.after["step"] == 8


def test_stops_when_saturated(tiny, tmp_path):
    values = dict(
        stop_when_saturated=True,
        saturation_loss=100,
        saturation_patience=2,
        eval_steps=4,
        epochs=40,
        learning_rate=1e-9,
    )
    result = fitter(tiny, tmp_path / "run", **values).fit()
    assert (result.stop_reason, result.steps) == ("saturated", 8)  # the TTR of step 0 was never passed


def test_keeps_the_early_stopped_model(tiny, tmp_path):
    result = fitter(tiny, tmp_path / "run", keep_early_stopped=True, epochs=3, learning_rate=1e-2).fit()
    evaluations = [record for record in result.history if record["kind"] == "evaluation"]
    assert [record["step"] for record in evaluations][:5] == [0, 1, 2, 3, 4]
    best = min(evaluations[1:], key=lambda record: record["validation_loss"])
    assert json.loads((tmp_path / "run" / "result.json").read_text())["best_step"] == best["step"]
    model = AutoModelForCausalLM.from_pretrained(result.early_stopped_dir)
    rows = torch.tensor(
        [json.loads(line)["input_ids"] for line in open(tmp_path / "run" / "corpus" / "validation.jsonl")]
    )
    loss = model(input_ids=rows, labels=rows).loss.item()
    assert loss == pytest.approx(best["validation_loss"], abs=1e-4)


def test_memory_options_do_not_change_the_losses(tiny, tmp_path, reference):
    fitter(tiny, tmp_path / "run", gradient_checkpointing=True, per_device_train_batch_size=2, epochs=1).fit()
    assert read_losses(tmp_path / "run") == pytest.approx(read_losses(reference)[:4], abs=1e-5)


def test_save_dtype_and_trackers(tiny, tmp_path):
    result = fitter(tiny, tmp_path / "run", save_dtype="bfloat16", report_to="tensorboard", epochs=1).fit()
    assert AutoModelForCausalLM.from_pretrained(result.final_dir).dtype == torch.bfloat16
    assert list((tmp_path / "run" / "trackers").rglob("events.out.tfevents*"))


def test_push_to_hub_uploads_the_final_folder(tiny, tmp_path, monkeypatch):
    import huggingface_hub

    calls = []
    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "create_repo",
        lambda self, name, exist_ok: huggingface_hub.RepoUrl(f"https://huggingface.co/me/{name}"),
    )
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", lambda self, **arguments: calls.append(arguments))
    fitter(tiny, tmp_path / "mine", push_to_hub=True, epochs=1).fit()
    assert [(call["repo_id"], call["folder_path"]) for call in calls] == [("me/mine", tmp_path / "mine" / "final")]


def test_one_writer_per_run(tiny, tmp_path):
    from hyperfitting.files import lock_folder

    with lock_folder(tmp_path / "run", "output_dir"), pytest.raises(UserError, match="is being written by process"):
        fitter(tiny, tmp_path / "run").fit()


def test_tokens_that_the_model_does_not_know(tiny, tmp_path):
    model = GPT2LMHeadModel(GPT2Config(vocab_size=260, n_positions=128, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(UserError, match="the model knows 260 ids: set --tokenizer"):
        Hyperfitter(
            model, tiny / "fp32", **{**TINY_RECIPE, "dataset": tiny / "stories.jsonl", "output_dir": tmp_path / "r"}
        ).fit()


def given(tiny, folder, **changes):
    """A Hyperfitter of a loaded model, which is trained in place."""
    model = AutoModelForCausalLM.from_pretrained(tiny / "fp32", dtype=torch.float32)
    return Hyperfitter(
        model, tiny / "fp32", **{**TINY_RECIPE, "dataset": tiny / "stories.jsonl", "output_dir": folder, **changes}
    )


def test_a_model_that_was_given_is_trained_once(tiny, tmp_path):
    run = given(tiny, tmp_path / "run", epochs=1)
    run.fit()
    for again in (dict(overwrite=True), dict(resume="auto")):
        with pytest.raises(UserError, match="already trained the model object .*: load it again"):
            run.fit(**again)
    assert len(read_losses(tmp_path / "run")) == 4  # and nothing of the first is lost


def test_an_interrupted_fit_of_a_given_model_goes_on_with_it(tiny, tmp_path, reference):
    run = given(tiny, tmp_path / "run")
    step = run._step

    def signalled(rows):
        run._signalled |= run.progress.step == 5
        step(rows)

    run._step = signalled
    assert run.fit().status == "interrupted"
    with pytest.raises(UserError, match="already trained"):
        run.fit(overwrite=True)
    run._step = step
    assert run.fit(resume="auto").status == "finished"
    assert read_losses(tmp_path / "run") == read_losses(reference)


def test_the_console_names_threads_and_compares_before_with_after(tiny, tmp_path, capsys):
    fitter(tiny, tmp_path / "run", epochs=1).fit()
    shown = capsys.readouterr().out
    assert f"One process on 1 x CPU ({torch.get_num_threads()} thread" in shown
    lines = [line for line in shown.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2 and all("train loss" in line and "TTR" in line for line in lines)
    assert "greedy texts that end in a loop" in shown and "95 % bootstrap over rows or texts" in " ".join(shown.split())

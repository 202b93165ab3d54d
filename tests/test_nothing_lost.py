"""What a mistake, a failure or the end of a launcher may not cost: a finished run, or the steps of one that is under way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from conftest import LAUNCH, REPOSITORY, TINY_RECIPE, flags, read_losses
from killing import start_and_wait_for

from hyperfitting import Hyperfitter, TrainingError, UserError
from hyperfitting.codec import load_codec
from hyperfitting.commands.hyperfit import main
from hyperfitting.corpus import Corpus

pytestmark = pytest.mark.slow


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.fixture
def run(reference, tmp_path):
    return shutil.copytree(reference, tmp_path / "run")


MISTAKES = {
    "a mistyped dataset": {"dataset": "gone.jsonl"},
    "a mistyped model": {"model": "gone/model"},
    "weights that are missing": {"model": "WEIGHTLESS"},
    "a batch that cannot be cut": {"per_device_train_batch_size": 3},
    "a learning rate that explodes": {"learning_rate": 1e30},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_overwriting_by_mistake_costs_nothing(mistake, run, tiny, tmp_path, capsys):
    before = content(run)
    shutil.copytree(tiny / "fp32", tmp_path / "weightless", ignore=shutil.ignore_patterns("*.safetensors"))
    values = {"model": tiny / "fp32", "dataset": tiny / "stories.jsonl", "output_dir": run, **MISTAKES[mistake]}
    values["model"] = tmp_path / "weightless" if values["model"] == "WEIGHTLESS" else values["model"]
    assert main([*flags(**values), "--overwrite"]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert content(run) == before and {path.name for path in run.iterdir()} >= {"final", "checkpoints"}


def test_a_killed_replacement_is_undone_by_the_next_command(run, tiny, capsys):
    before = content(run)
    values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=run, epochs=5, save_steps=1000)
    command = [sys.executable, "launch/hyperfit.py", *values, "--overwrite"]
    process = subprocess.Popen([str(word) for word in command], cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    while not (run / ".replaced").exists() or not (run / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert main(values) == 2 and "holds a run" in capsys.readouterr().err
    assert content(run) == before


def test_a_resume_is_held_against_what_the_run_was_begun_with(run, tiny):
    shutil.rmtree(run / "corpus")
    with pytest.raises(UserError, match="seq_len was 64 and is now 32"):
        Hyperfitter(recipe=run / "recipe.yaml", output_dir=str(run), seq_len=32).fit(resume="auto")
    (run / "recipe.yaml").write_text((run / "recipe.yaml").read_text())
    texts = (tiny / "stories.jsonl").read_text().replace("a small", "one tiny")
    (run.parent / "other.jsonl").write_text(texts)
    recipe = (run / "recipe.yaml").read_text().replace(str(tiny / "stories.jsonl"), str(run.parent / "other.jsonl"))
    (run / "recipe.yaml").write_text(recipe)
    with pytest.raises(UserError, match="was trained on other rows than it holds now"):
        Hyperfitter(recipe=run / "recipe.yaml", output_dir=str(run)).fit(resume="auto")


@pytest.mark.parametrize("left", ["corpus.tmp", "corpus"])
def test_a_kill_while_rows_are_written_can_be_resumed(left, tiny, tmp_path, reference):
    folder = tmp_path / "run"
    values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=folder, epochs=1)
    shutil.copytree(reference / "corpus", folder / left, ignore=shutil.ignore_patterns("corpus.json", "validation*"))
    shutil.copy(reference / "recipe.yaml", folder)
    assert main([*values, "--resume", "auto"]) == 0
    assert read_losses(folder) == pytest.approx(read_losses(reference)[:4], abs=1e-6)
    assert not (folder / "corpus.tmp").exists()


def test_another_tokenizer_is_noticed_on_resuming(run):
    corpus = Corpus.load(run / "corpus")
    other = Corpus(corpus.train, corpus.validation, corpus.train_documents, corpus.validation_documents, "another")
    other.save(run / "corpus", load_codec("builtin/base_model"))
    with pytest.raises(UserError, match="were made with another tokenizer"):
        Hyperfitter(recipe=run / "recipe.yaml", output_dir=str(run)).fit(resume="auto")


def test_weights_that_are_no_numbers_are_never_kept_as_the_early_stopped_model(tiny, tmp_path):
    values = {**TINY_RECIPE, "dataset": tiny / "stories.jsonl", "output_dir": tmp_path / "run", "learning_rate": 3e38}
    with pytest.raises(TrainingError):
        Hyperfitter(tiny / "fp32", keep_early_stopped=True, **values).fit()
    assert not (tmp_path / "run" / "early_stopped").exists()


def test_a_run_saves_and_ends_when_its_launcher_does(tiny, tmp_path, reference):
    """With one process `accelerate launch` dies of a SIGTERM and hands it on to nobody."""
    folder = tmp_path / "run"
    values = flags(
        model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=folder, epochs=2000, save_steps=10**6
    )
    config = ["--config_file", "accelerate_configs/single.yaml"]
    process = start_and_wait_for([*LAUNCH, *config, "launch/hyperfit.py", *values], folder, 6)
    (trainer,) = [
        p for p in psutil.Process(process.pid).children(recursive=True) if "launch/hyperfit.py" in p.cmdline()
    ]
    os.kill(process.pid, signal.SIGTERM)
    trainer.wait(timeout=60)
    losses = read_losses(folder)
    assert (folder / "checkpoints" / f"step_{len(losses):07d}" / "COMPLETED").exists()
    assert losses[:6] == pytest.approx(read_losses(reference)[:6], abs=1e-5)


def test_the_end_of_a_shell_stops_nothing(tiny, tmp_path):
    folder = tmp_path / "run"
    values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=folder)
    words = " ".join(
        str(word) for word in ("exec 2>&1; nohup", sys.executable, "launch/hyperfit.py", *values, "& wait")
    )
    shell = start_and_wait_for(["bash", "-c", words], folder, 2)
    (trainer,) = [p for p in psutil.Process(shell.pid).children(recursive=True) if "launch/hyperfit.py" in p.cmdline()]
    shell.kill()
    trainer.wait(timeout=120)
    assert json.loads((folder / "result.json").read_text())["status"] == "finished"

"""Runs that are killed, interrupted or damaged go on as if nothing had happened."""

import json
import os
import shutil
import signal

import psutil
import pytest
from conftest import TINY_RECIPE, read_losses
from killing import command, start_and_wait_for

from hyperfitting import Hyperfitter
from hyperfitting.training import checkpoint
from hyperfitting.training.recipe import Recipe

pytestmark = pytest.mark.slow


def test_sigterm_on_one_rank_saves_and_exits_cleanly(tiny, tmp_path, reference):
    folder = tmp_path / "run"
    process = start_and_wait_for(command("ddp", tiny, folder), folder, 12)
    ranks = [p for p in psutil.Process(process.pid).children(recursive=True) if "launch/hyperfit.py" in p.cmdline()]
    assert len(ranks) == 2
    os.kill(ranks[-1].pid, signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and "Interrupted and saved at step" in output
    losses = read_losses(folder)
    assert checkpoint.newest_checkpoint(folder / "checkpoints").name == f"step_{len(losses):07d}" and len(losses) < 40
    assert not (folder / "final").exists()
    resume(folder)  # whole weights load in one process as well
    assert len(read_losses(folder)) == 40
    assert read_losses(folder)[:24] == pytest.approx(read_losses(reference), abs=1e-4)


@pytest.fixture
def damaged(reference, tmp_path):
    """A copy of a finished run without its results."""
    shutil.copytree(reference, tmp_path / "run")
    for name in ("final", "result.json"):
        path = tmp_path / "run" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return tmp_path / "run"


def resume(folder):
    return Hyperfitter(recipe=folder / "recipe.yaml", output_dir=str(folder)).fit(resume="auto")


def test_damaged_checkpoints_are_passed_over(damaged, reference):
    checkpoints = damaged / "checkpoints"
    with open(checkpoints / "step_0000024" / "optimizer.bin", "r+b") as file:
        file.truncate(1000)
    (checkpoints / "step_0000020" / "COMPLETED").unlink()
    shutil.copytree(checkpoints / "step_0000010", checkpoints / "step_0000030.tmp")
    with pytest.warns(UserWarning) as warnings:
        result = resume(damaged)
    text = "\n".join(str(warning.message) for warning in warnings)
    assert (
        "optimizer.bin has 1000 bytes instead of" in text and "no COMPLETED mark" in text and "never finished" in text
    )
    assert (
        "step_0000010" in str([record for record in result.history if record["step"] == 11][:1]) or result.steps == 24
    )
    assert read_losses(damaged) == read_losses(reference)


def test_without_a_whole_checkpoint_it_starts_anew(damaged, reference):
    shutil.rmtree(damaged / "checkpoints")
    resume(damaged)
    assert read_losses(damaged) == read_losses(reference)


def test_a_finished_run_can_be_given_more_epochs(damaged, reference, tiny, tmp_path):
    result = Hyperfitter(recipe=damaged / "recipe.yaml", output_dir=str(damaged), epochs=7).fit(resume="auto")
    assert result.steps == 28 and read_losses(damaged)[:24] == read_losses(reference)
    assert Recipe.load(damaged / "recipe.yaml").epochs == 7


def test_shards_of_another_layout_are_refused(damaged):
    from hyperfitting import UserError

    facts = damaged / "checkpoints" / "step_0000024" / "progress.json"
    facts.write_text(facts.read_text().replace("unsharded weights", "DeepSpeed ZeRO-3 on 4 process(es)"))
    mark = facts.with_name("COMPLETED")
    files = json.loads(mark.read_text())
    mark.write_text(json.dumps(files | {"progress.json": checkpoint.synced(facts)}))
    with pytest.raises(UserError, match="saved with DeepSpeed ZeRO-3 on 4 process"):
        resume(damaged)


class StoppedAt(Hyperfitter):
    """A Hyperfitter that gets SIGTERM after a given step."""

    stop_at = None

    def _step(self, rows):
        self._signalled |= self.progress.step + 1 == self.stop_at
        super()._step(rows)


@pytest.mark.parametrize("stop_at", [4, 5, 24])
def test_interrupted_anywhere_and_resumed(stop_at, tiny, tmp_path, reference):
    values = {**TINY_RECIPE, "dataset": tiny / "stories.jsonl", "output_dir": tmp_path / "run"}
    fitter = StoppedAt(tiny / "fp32", **values)
    fitter.stop_at = stop_at
    first = fitter.fit()
    assert first.status == "interrupted" and first.final_dir is None
    fitter.stop_at = None
    result = fitter.fit(resume="auto")  # the same object goes on
    assert (result.status, result.steps) == ("finished", 24)
    assert read_losses(tmp_path / "run") == read_losses(reference)
    assert (
        result.after["epoch_train_loss"]
        == json.loads((reference / "result.json").read_text())["after"]["epoch_train_loss"]
    )


def test_a_resumed_run_may_cut_its_batches_otherwise(damaged, reference):
    shutil.rmtree(damaged / "checkpoints" / "step_0000024")
    Hyperfitter(recipe=damaged / "recipe.yaml", output_dir=str(damaged), per_device_train_batch_size=2).fit(
        resume="auto"
    )
    assert read_losses(damaged) == pytest.approx(read_losses(reference), abs=1e-5)


def test_going_back_to_an_older_checkpoint_sets_newer_ones_aside(damaged, reference):
    path = damaged / "checkpoints" / "step_0000010"
    Hyperfitter(recipe=damaged / "recipe.yaml", output_dir=str(damaged), keep_checkpoints=1).fit(resume=path)
    names = {path.name for path in (damaged / "checkpoints").iterdir()}
    assert names == {"aside_step_0000020", "aside_step_0000024", "step_0000024"}
    assert read_losses(damaged) == read_losses(reference)


def test_what_a_run_may_not_go_on_with(damaged, reference):
    from hyperfitting import UserError

    recipe = dict(recipe=damaged / "recipe.yaml", output_dir=str(damaged))
    with pytest.raises(UserError, match="not one of run"):
        Hyperfitter(**recipe).fit(resume=reference / "checkpoints" / "step_0000024")
    with pytest.raises(UserError, match="probe_contexts was 3 and is now 2"):
        Hyperfitter(**recipe, probe_contexts=2).fit(resume="auto")

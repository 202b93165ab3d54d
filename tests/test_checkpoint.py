"""Checkpoints: nothing is removed before what replaces it stands, and damage is found before it is loaded."""

import json
import os
import shutil
import warnings

import pytest
from conftest import TINY_RECIPE, read_losses
from test_resume import damaged, resume  # noqa: F401

from hyperfitting import Hyperfitter, UserError
from hyperfitting.training import checkpoint

pytestmark = pytest.mark.slow

NEWEST = "step_0000024"


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


CHANGES = {
    "a weight": lambda folder: flip(folder / "model.safetensors"),
    "a moment of Adam": lambda folder: flip(folder / "optimizer.bin"),
    "progress": lambda folder: (folder / "progress.json").write_text(
        (folder / "progress.json").read_text().replace('"step": 24', '"step": 14')
    ),
    "an unreadable mark": lambda folder: (folder / "COMPLETED").write_bytes(b"\xff\xfe"),
    "a mark of another kind": lambda folder: (folder / "COMPLETED").write_text("[1]"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_checkpoint_is_passed_over(change, damaged, reference):  # noqa: F811
    CHANGES[change](damaged / "checkpoints" / NEWEST)
    with pytest.warns(UserWarning, match=f"{NEWEST} is passed over"):
        resume(damaged)
    assert read_losses(damaged) == read_losses(reference)


def test_a_checkpoint_of_an_older_version_is_taken_and_it_is_said(damaged):  # noqa: F811
    mark = damaged / "checkpoints" / NEWEST / "COMPLETED"
    mark.write_text(json.dumps({name: size for name, (size, _) in json.loads(mark.read_text()).items()}))
    with pytest.warns(UserWarning, match="of an older version: only the sizes"):
        assert resume(damaged).steps == 24


def test_digests_can_be_left_out(damaged):  # noqa: F811
    flip(damaged / "checkpoints" / NEWEST / "optimizer.bin")
    folder = damaged / "checkpoints"
    assert checkpoint.newest_checkpoint(folder, verify=False).name == NEWEST
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert checkpoint.newest_checkpoint(folder).name == "step_0000020"


def test_content_that_does_not_load_is_one_message(damaged):  # noqa: F811
    folder = damaged / "checkpoints" / NEWEST
    (folder / "optimizer.bin").write_bytes(b"no pickle")
    files = json.loads((folder / "COMPLETED").read_text())
    (folder / "COMPLETED").write_text(
        json.dumps(files | {"optimizer.bin": checkpoint.synced(folder / "optimizer.bin")})
    )
    with pytest.raises(UserError, match="cannot be loaded.*move it away"):
        resume(damaged)


def test_a_whole_checkpoint_is_adopted_when_its_rename_is_missing(damaged, reference):  # noqa: F811
    folder = damaged / "checkpoints"
    for name in ("step_0000010", "step_0000020"):
        shutil.rmtree(folder / name)
    os.rename(folder / NEWEST, folder / f"{NEWEST}.tmp")
    result = resume(damaged)
    assert result.steps == 24 and result.history[0]["step"] == 0
    assert {path.name for path in folder.iterdir()} == {NEWEST}
    assert read_losses(damaged) == read_losses(reference)


def test_what_is_saved_is_not_saved_again(tiny, tmp_path, monkeypatch):
    """With one checkpoint kept, a run that is resumed and stopped at once would otherwise remove it to write it again."""
    values = {**TINY_RECIPE, "dataset": tiny / "stories.jsonl", "output_dir": tmp_path / "run", "keep_checkpoints": 1}

    class Stopped(Hyperfitter):
        def _train(self):
            self._signalled = True
            super()._train()

    fitter = Hyperfitter(tiny / "fp32", **{**values, "epochs": 1})
    fitter.fit()
    shutil.rmtree(tmp_path / "run" / "final")
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    before = {path: path.stat().st_mtime_ns for path in saved.iterdir()}
    assert Stopped(tiny / "fp32", **{**values, "epochs": 2}).fit(resume="auto").status == "interrupted"
    assert {path: path.stat().st_mtime_ns for path in saved.iterdir()} == before


def test_a_kill_before_old_ones_were_deleted_is_made_up_for(damaged):  # noqa: F811
    """At the end of a run no save follows that would do it."""
    folder = damaged / "checkpoints"
    assert len(list(folder.iterdir())) == 3
    Hyperfitter(recipe=damaged / "recipe.yaml", output_dir=str(damaged), keep_checkpoints=2).fit(resume="auto")
    assert {path.name for path in folder.iterdir()} == {"step_0000020", NEWEST}


def test_a_damaged_checkpoint_of_the_same_step_stands_until_the_new_one_does(damaged, monkeypatch):  # noqa: F811
    from accelerate import Accelerator

    folder = damaged / "checkpoints"
    (folder / NEWEST / "COMPLETED").unlink()
    accelerator, rename, seen = Accelerator(cpu=True), os.rename, []
    monkeypatch.setattr(
        os, "rename", lambda a, b: seen.append(sorted(p.name for p in folder.iterdir())) or rename(a, b)
    )
    checkpoint.save_checkpoint(accelerator, folder, 24, {"step": 24}, keep=3, parameters=1)
    assert all(any("0000024" in name for name in names) for names in seen) and len(seen) == 2
    assert checkpoint.find_damage(folder / NEWEST) is None
    assert {path.name for path in folder.iterdir()} == {"step_0000010", "step_0000020", NEWEST}


def test_a_folder_of_another_name_is_no_checkpoint(damaged, reference):  # noqa: F811
    (damaged / "checkpoints" / "step_best").mkdir()
    (damaged / "checkpoints" / "step_best" / "notes.txt").write_text("mine")
    shutil.rmtree(damaged / "checkpoints" / NEWEST)
    Hyperfitter(recipe=damaged / "recipe.yaml", output_dir=str(damaged), keep_checkpoints=1).fit(resume="auto")
    assert {path.name for path in (damaged / "checkpoints").iterdir()} == {"step_best", NEWEST}
    assert (damaged / "checkpoints" / "step_best" / "notes.txt").read_text() == "mine"


def test_shards_of_another_user_are_refused_unless_trusted(damaged, monkeypatch):  # noqa: F811
    from accelerate import Accelerator

    accelerator, path = Accelerator(cpu=True), damaged / "checkpoints" / NEWEST
    facts = json.loads((path / "progress.json").read_text())
    monkeypatch.setattr(checkpoint, "_layout", lambda accelerator: facts["layout"])
    monkeypatch.setattr(checkpoint, "strategy_of", lambda accelerator: "deepspeed")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UserError, match="belongs to another user.*--trust_checkpoint"):
        checkpoint.load_checkpoint(accelerator, path)
    loaded = []
    monkeypatch.setattr(accelerator, "load_state", loaded.append)
    assert checkpoint.load_checkpoint(accelerator, path, trust=True)["step"] == 24 and loaded == [str(path)]

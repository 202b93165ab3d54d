"""A run that is replaced is there until the new one has something to show, whatever happens in between."""

import errno
import os
import shutil

import pytest

from hyperfitting import UserError
from hyperfitting.training.checkpoint import newest_checkpoint
from hyperfitting.training.run_folder import RunFolder


class Killed(BaseException):
    """What a kill leaves behind is what an exception that nothing catches does."""


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    (folder.path / "checkpoints" / "step_0000008").mkdir(parents=True)
    for file in (folder.recipe, folder.metrics, folder.checkpoints / "step_0000008" / "COMPLETED"):
        file.write_text("old")
    return folder


def content(run):
    return {str(path.relative_to(run.path)): path.read_text() for path in run.path.rglob("*") if path.is_file()}


def begin_another(run):
    run.recipe.write_text("new")
    run.probe.mkdir()
    (run.probe / "step_0000000.jsonl").write_text("new")


def test_it_is_put_back_or_forgotten(run):
    old = content(run)
    run.set_aside()
    begin_another(run)
    run.put_back()
    assert content(run) == old
    run.set_aside()
    begin_another(run)
    run.forget_replaced()
    assert content(run) == {"recipe.yaml": "new", "probe/step_0000000.jsonl": "new"}
    assert not run.replaced.exists()


def test_killed_at_any_rename_it_is_put_back_by_the_next_command(run, monkeypatch):
    old, rename = content(run), os.rename
    for back in (False, True):
        for survived in range(8):
            left = survived

            def dying(source, target):
                nonlocal left
                if not left:
                    raise Killed
                left -= 1
                rename(source, target)

            if back:
                run.set_aside()
                begin_another(run)
            with monkeypatch.context() as patch:
                patch.setattr(os, "rename", dying)
                try:
                    run.put_back() if back else run.set_aside()
                except Killed:
                    pass
            run.settle()
            assert content(run) == old, (back, survived)


def test_a_failure_while_the_old_one_is_deleted_costs_no_checkpoint_of_the_new_one(run, monkeypatch):
    rmtree = shutil.rmtree

    def fail_midway(folder):
        (folder / "recipe.yaml").unlink()
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"), run.sole_writer(resume=False, overwrite=True):
        run.set_aside()
        begin_another(run)
        (run.checkpoints / "step_0000002").mkdir(parents=True)
        (run.checkpoints / "step_0000002" / "COMPLETED").write_text("{}")
        (run.checkpoints / "step_0000002" / "progress.json").write_text('{"layout": "", "progress": {}}')
        monkeypatch.setattr(shutil, "rmtree", fail_midway)
        run.forget_replaced()
    assert newest_checkpoint(run.checkpoints) == run.checkpoints / "step_0000002"
    assert run.recipe.read_text() == "new" and not run.replaced.exists()


def test_what_a_run_left_that_was_killed_at_once_is_no_foreign_file(tmp_path):
    (tmp_path / "recipe.yaml.host-1.tmp").touch()
    run = RunFolder(tmp_path)
    run.check_free(resume=False, overwrite=False)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="holds files that are not a run"):
        run.check_free(resume=False, overwrite=False)


def test_only_what_a_run_wrote_may_be_replaced(run):
    run.check_free(resume=False, overwrite=True)
    for name in ("thesis.tex", "src"):
        (run.path / name).mkdir()
        with pytest.raises(UserError, match=f"holds '{name}', which no run wrote"):
            run.check_free(resume=False, overwrite=True)
        run.check_free(resume=True, overwrite=False)  # which removes nothing of it
        (run.path / name).rmdir()
    for name in ("final.tmp", "final.old", "curves.png", "trackers", "metrics.jsonl.host-1.tmp"):
        (run.path / name).mkdir()
    run.check_free(resume=False, overwrite=True)

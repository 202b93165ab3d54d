"""A run that is replaced is there until the new one has something to show, whatever happens in between."""

import errno
import json
import os

import pytest

from hyperfitting import UserError
from hyperfitting.files import replace_folder
from hyperfitting.training.checkpoint import keep_newest, newest_checkpoint, set_newer_aside
from hyperfitting.training.run_folder import RunFolder
from hyperfitting.training.written import of_model


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
    unlink = os.unlink

    def fail_midway(path):
        unlink(run.replaced / "recipe.yaml")
        monkeypatch.setattr(os, "unlink", unlink)
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"), run.sole_writer(resume=False, overwrite=True):
        run.set_aside()
        begin_another(run)
        (run.checkpoints / "step_0000002").mkdir(parents=True)
        (run.checkpoints / "step_0000002" / "COMPLETED").write_text("{}")
        (run.checkpoints / "step_0000002" / "progress.json").write_text('{"layout": "", "progress": {}}')
        monkeypatch.setattr(os, "unlink", fail_midway)
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


def filled(path, content="mine"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def a_model(folder):
    for name in ("config.json", "model.safetensors", "source.spm"):
        filled(folder / name, "model")
    filled(folder / ".written.json", '["config.json", "model.safetensors", "source.spm"]')


def a_checkpoint(run, step):
    folder = run.checkpoints / f"step_{step:07d}"
    for name in ("model.safetensors", "pytorch_model/zero_pp_rank_0_mp_rank_00_optim_states.pt", "odd[1].bin"):
        filled(folder / name, "checkpoint")
    filled(folder / "progress.json", '{"layout": "", "progress": {}}')
    names = [path for path in folder.rglob("*") if path.is_file()]
    filled(folder / "COMPLETED", json.dumps({str(path.relative_to(folder)): path.stat().st_size for path in names}))
    return folder


@pytest.fixture
def whole(run):
    """A run that has all that one may leave."""
    a_checkpoint(run, 8)
    filled(run.checkpoints / "step_0000009.tmp" / "optimizer_0" / "__0_0.distcp")
    a_checkpoint(run, 12).rename(run.checkpoints / "aside_step_0000012")
    a_model(run.final)
    for name in (
        "README.md",
        "tokenizer.json",
        "model-00001-of-00002.safetensors",
    ):  # an older version's, without a list
        filled(run.early_stopped / name, "---\ntags:\n- hyperfitting\n---\n")
    for name in ("train.jsonl", "validation.jsonl", "corpus.json"):
        filled(run.corpus / name)
    filled(run.probe / "step_0000000.jsonl")
    filled(run.probe / "step_0000000.png")
    filled(run.probe / "step_0000008.jsonl.host-12.tmp")
    filled(run.probe / "step_12345678.jsonl")
    filled(run.trackers / "hyperfitting" / "events.out.tfevents.17.host")
    filled(run.trackers / "hyperfitting" / "1764326000.123" / "hparams.yml")
    filled(run.trackers / ".aim" / "meta" / "index")
    filled(run.path / "metrics.jsonl.host-12.tmp")
    return run


FOREIGN = (
    "notes.txt",
    "final/thesis.tex",
    "final/notes.json",
    "final/.DS_Store",
    "final/__pycache__/a.pyc",
    "early_stopped/model.gguf",
    "early_stopped/model_best.safetensors",
    "early_stopped/model-backup.safetensors",
    "early_stopped/tokenizer_mine.json",
    "checkpoints/notes.txt",
    "checkpoints/step_best/model.safetensors",
    "checkpoints/step_0000008/notes.txt",
    "checkpoints/step_0000008/oddx.bin",
    "checkpoints/step_0000008/pytorch_model/notes.txt",
    "checkpoints/step_0000009.tmp/notes.txt",
    "checkpoints/step_0000009.tmp/model_best.safetensors",
    "checkpoints/aside_step_0000012/notes.txt",
    "corpus/notes.txt",
    "corpus.old/notes.txt",
    "probe/notes.txt",
    "probe/step_mine.jsonl",
    "probe/step_0000000_rated.jsonl",
    "trackers/notes.txt",
    "trackers/hyperfitting/notes.txt",
)


def test_at_every_depth_only_what_a_run_wrote_may_be_replaced(whole, tmp_path):
    whole.check_free(resume=False, overwrite=True)
    for name in FOREIGN:
        file = filled(whole.path / name)
        with pytest.raises(UserError, match="which no run wrote") as raised:
            whole.check_free(resume=False, overwrite=True)
        assert any(f"'{part}'" in str(raised.value) for part in (name, os.path.dirname(name))), name
        file.unlink()
        if file.parent.name in ("__pycache__", "step_best", "corpus.old"):
            file.parent.rmdir()
    (whole.final / "figures").mkdir()  # an empty folder
    with pytest.raises(UserError, match="'final/figures'"):
        whole.check_free(resume=False, overwrite=True)
    (whole.final / "figures").rmdir()
    for name in ("final/config.json", "corpus/train.jsonl", "checkpoints/step_0000008"):  # links to what lies elsewhere
        (whole.path / name).rename(tmp_path / "elsewhere")
        (whole.path / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UserError, match=f"'{name}'"):
            whole.check_free(resume=False, overwrite=True)
        (whole.path / name).unlink()
        (tmp_path / "elsewhere").rename(whole.path / name)
    (tmp_path / "link").symlink_to(whole.path)
    RunFolder(tmp_path / "link").check_free(resume=False, overwrite=True)


def test_what_comes_while_a_run_is_replaced_is_kept(whole):
    whole.set_aside()
    begin_another(whole)
    filled(whole.probe / "notes.txt")
    filled(whole.path / "todo.txt")
    filled(whole.replaced / "final" / "thesis.tex")
    with pytest.warns(UserWarning, match="probe.kept"):
        whole.put_back()
    assert (whole.path / "probe.kept" / "notes.txt").exists() and (whole.path / "todo.txt").exists()
    assert whole.recipe.read_text() == "old" and (whole.final / "thesis.tex").exists()
    whole.set_aside()
    with pytest.warns(UserWarning, match=r"final/thesis.tex.*no run"):
        whole.forget_replaced()
    assert "final/thesis.tex" in content(RunFolder(whole.path / ".replaced.kept"))


def test_a_checkpoint_is_removed_without_what_someone_put_into_it(whole, tmp_path):
    for step in (16, 24, 32):
        a_checkpoint(whole, step)
    filled(whole.checkpoints / "step_0000016" / "pytorch_model" / "notes.txt")
    (whole.checkpoints / "step_0000024").rename(tmp_path / "elsewhere")
    (whole.checkpoints / "step_0000024").symlink_to(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match="kept as"):
        keep_newest(whole.checkpoints, 1)
    kept = whole.checkpoints / "step_0000016.kept"
    assert [path.name for path in kept.rglob("*") if path.is_file()] == ["notes.txt"]
    assert (tmp_path / "elsewhere" / "model.safetensors").exists()
    assert (whole.checkpoints / "step_0000024.kept").is_symlink()
    assert not (whole.checkpoints / "step_0000008").exists() and (whole.checkpoints / "step_0000032").exists()
    filled(whole.checkpoints / "aside_step_0000032" / "notes.txt")
    with pytest.warns(UserWarning, match="aside_step_0000032.kept"):
        set_newer_aside(whole.checkpoints, 8)


def test_a_model_is_replaced_without_what_someone_put_beside_it(whole, tmp_path):
    whole.check_free(resume=True, overwrite=False)
    filled(whole.final / "model.gguf")
    with pytest.raises(UserError, match="'final/model.gguf', which no run wrote: move it away before --resume"):
        whole.check_free(resume=True, overwrite=False)
    a_model(whole.path / "final.tmp")
    with pytest.warns(UserWarning, match="model.gguf"):  # it came while the run went on
        replace_folder(whole.path / "final.tmp", whole.final, of_model)
    assert [path.name for path in (whole.path / "final.old.kept").iterdir()] == ["model.gguf"]
    for own in ("final", "early_stopped"):  # a model of another origin that lies where the run's will
        a_model(tmp_path / "other")
        (tmp_path / "other" / ".written.json").unlink()
        path = RunFolder(tmp_path / own)
        (tmp_path / "other").rename(getattr(path, own).parent.mkdir() or getattr(path, own))
        filled(path.recipe)
        with pytest.raises(UserError, match=f"'{own}/config.json'"):
            path.check_free(resume=True, overwrite=False)

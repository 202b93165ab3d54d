"""What every benchmark shares: which results are written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
sys.path.append(str(REPOSITORY / "benchmarks"))
import common  # noqa: E402
from stages import Stages  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of one committed file of code, in which `report` writes."""

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "benchmarks").mkdir()
    shutil.copy(REPOSITORY / "benchmarks" / "common.py", tmp_path / "benchmarks")
    for words in (["init"], ["add", "."], ["commit", "-m", "code"]):
        git(*words)
    monkeypatch.setattr(common, "RESULTS", tmp_path / "benchmarks" / "results")
    return tmp_path


def report():
    return common.report("speed", "Speed", ["side", "seconds"], [["ours", "1.0"]], {"seconds": [1.0]})


def test_results_name_the_commit_that_made_them(repository):
    (repository / "README.md").write_text("prose\n")
    path = report()
    assert json.loads(path.read_text())["rows"] == [["ours", "1.0"]]
    assert report() == path  # the results of before are no code either


@pytest.mark.parametrize("file", ["benchmarks/common.py", "benchmarks/new.py", "hyperfitting.py"])
def test_no_results_of_code_that_was_not_committed(repository, capsys, file):
    with open(repository / file, "a") as code:
        code.write("# changed\n")
    assert report() is None and not common.RESULTS.exists()
    shown = capsys.readouterr().out
    assert "ours" in shown and f" {file}" in shown
    assert "speed.json is not written, because this code is not committed: commit it and measure again" in shown


def test_a_stage_is_passed_over_only_where_nothing_that_it_reads_has_changed(tmp_path):
    """A run, its texts and their scores, made again and again, each time by a new process' `Stages`."""
    run, texts, scores = (tmp_path / name for name in ("seed_0", "generations/base", "scores"))

    def make(epochs=6, policy="greedy", killed=()):
        done, stages = [], Stages(tmp_path)
        for folder, command in (
            (run, ["hyperfit.py", "--epochs", epochs]),
            (texts, ["generate.py", "--model", run / "final", "--policy", policy]),
            (scores, ["score.py", f"--group=hyperfitted={texts},{texts}"]),
        ):
            if folder.name in killed:
                return done
            stages.make(folder, command, lambda name=folder.name: done.append(name))
        return done

    assert make(killed=["base"]) == ["seed_0"]
    assert make() == ["base", "scores"]
    assert make() == []
    assert make(policy="nucleus") == ["base", "scores"]
    assert make(epochs=8, policy="nucleus") == ["seed_0", "base", "scores"]
    assert make(epochs=8, policy="nucleus") == []


@pytest.mark.parametrize("folder", ["benchmarks", "launch"])
def test_every_script_is_one_that_this_python_can_read(folder):
    for script in sorted((REPOSITORY / folder).glob("*.py")):
        compile(script.read_text(encoding="utf-8"), str(script), "exec")

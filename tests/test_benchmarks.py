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


@pytest.mark.parametrize("folder", ["benchmarks", "launch"])
def test_every_script_is_one_that_this_python_can_read(folder):
    for script in sorted((REPOSITORY / folder).glob("*.py")):
        compile(script.read_text(encoding="utf-8"), str(script), "exec")

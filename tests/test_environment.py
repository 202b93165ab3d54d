import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, run

import hyperfitting
from hyperfitting.training.environment import _commit

pytestmark = pytest.mark.slow

ASK = "import sys; sys.path[0] = sys.argv[1]; from hyperfitting.training.environment import _commit; print(_commit())"


def test_the_commit_is_that_of_this_code(tmp_path):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()
    assert _commit().removesuffix("-dirty") == head
    # An installation inside somebody's own repository, as a virtual environment often is.
    shutil.copytree(Path(hyperfitting.__file__).parent, tmp_path / "site" / "hyperfitting")
    (tmp_path / "thesis.tex").write_text("mine")
    for words in ("init", "add thesis.tex", "-c user.name=me -c user.email=me@here commit -m mine"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, capture_output=True, check=True)
    done = run([sys.executable, "-c", ASK, tmp_path / "site"])
    assert done.stdout.strip() == "None", done.stderr

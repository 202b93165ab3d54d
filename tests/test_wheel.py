"""The installed package, without the repository: a wheel built from the source distribution, in an environment of its own."""

import filecmp
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.slow


def run(*words, cwd):
    """Run a command that sees nothing of the repository; returns its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%|" not in done.stdout + done.stderr  # no other library's progress bar
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with bin/hyperfitting: a bare environment that borrows every other package from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(
        ".*", "tests", "benchmarks", "runs", "generations", "scores", "*.egg-info", "build"
    )
    shutil.copytree(REPOSITORY, folder / "source", symlinks=True, ignore=left_out)
    build = "from setuptools import build_meta; build_meta.build_sdist('..')"
    run(sys.executable, "-c", build, cwd=folder / "source")
    shutil.rmtree(folder / "source")
    venv.create(folder / "bare", symlinks=True)
    (packages,) = (folder / "bare").glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "borrowed.pth").write_text(
        "\n".join(borrowed)
    )  # of which no .pth is read: nothing editable comes along
    (archive,) = folder.glob("*.tar.gz")
    offline = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    run(folder / "bare" / "bin" / "python", "-m", "pip", "install", *offline, archive, cwd=folder)
    return folder / "bare"


def test_recipes_configs_and_types_come_along(installed, tmp_path):
    where = run(installed / "bin" / "python", "-c", "import hyperfitting; print(hyperfitting.__file__)", cwd=tmp_path)
    package = Path(where.strip()).parent
    assert package.is_relative_to(installed) and (package / "py.typed").is_file()
    for folder in ("report/templates", "preference/page", "preference/judging"):
        there = {path.name for path in (REPOSITORY / "hyperfitting" / folder).iterdir() if path.is_file()}
        assert there == {path.name for path in (package / folder).iterdir() if path.is_file()}
    for mine, theirs in (("recipes", "launch/recipes"), ("accelerate_configs", "accelerate_configs")):
        shipped, real = package / "assets" / mine, REPOSITORY / theirs
        names = sorted(path.name for path in real.glob("*.yaml"))
        assert sorted(path.name for path in shipped.iterdir()) == names
        assert filecmp.cmpfiles(shipped, real, names, shallow=False)[0] == names
        assert (REPOSITORY / "hyperfitting" / "assets" / mine).is_symlink()  # the repository holds them once


def test_the_builtin_path(installed, tmp_path):
    """From a model to scores and a report with the console command alone."""
    command = installed / "bin" / "hyperfitting"
    rows = ["--num_train", 8, "--num_validation", 2, "--seq_len", 64, "--probe_contexts", 0]
    little = ["--epochs", 1, "--keep_early_stopped", "false"]
    run(command, "fit", "--config", "builtin", *rows, *little, "--output_dir", "run", cwd=tmp_path)
    contexts = ["--contexts", "news=builtin/held_out_news", "--num_contexts", 2, "--max_length", 40]
    run(command, "generate", "--model", "run/final", *contexts, "--output_dir", "texts", cwd=tmp_path)
    run(command, "score", "texts", "--train_rows", "run", "--output_dir", "scores", cwd=tmp_path)
    entry, original = json.loads((tmp_path / "scores" / "scores.json").read_text())["conditions"]
    assert (entry["name"], entry["contexts"], original["name"]) == ("texts", 2, "original text")
    assert "overlap" in entry["scores"] and (tmp_path / "scores" / "report.html").stat().st_size > 10_000


def test_lists(installed, tmp_path):
    command = installed / "bin" / "hyperfitting"
    assert "self_bleu_4" in run(command, "metrics", cwd=tmp_path)
    assert "min_p(min_p=0.1,temperature=1)" in run(command, "policies", cwd=tmp_path)
    shown = run(command, "configs", cwd=tmp_path)
    assert "fsdp2" in shown and "tinyllama_1b" in shown
    config = Path(run(command, "configs", "zero2", cwd=tmp_path).strip())
    assert config.is_relative_to(installed) and "zero_stage: 2" in config.read_text()

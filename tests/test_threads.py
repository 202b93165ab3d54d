"""How many threads compute on a CPU: all cores of the machine when one process has them, unless the user says otherwise."""

import json
import re

import pytest
from conftest import LAUNCH, flags, run

from hyperfitting.hardware import cores

pytestmark = pytest.mark.slow

CONFIG = ["--config_file", "accelerate_configs/single.yaml"]


def launched(tiny, folder, *launch, **environment) -> tuple[int, str]:
    """(threads of a run under `accelerate launch`, what it printed)."""
    values = flags(
        model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=folder, epochs=1, probe_contexts=0, num_train=8
    )
    done = run([*LAUNCH, *launch, "launch/hyperfit.py", *values], **environment)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "environment.json").read_text())["threads_per_process"], done.stdout


@pytest.fixture
def unset(monkeypatch):
    """The environment of a user who set no number of threads."""
    monkeypatch.delenv("OMP_NUM_THREADS")


@pytest.mark.skipif(cores() == 1, reason="one core has one thread anyway")
def test_the_only_process_takes_all_cores(tiny, tmp_path, unset):
    threads, shown = launched(tiny, tmp_path / "run", *CONFIG)
    assert threads == cores() and f"({cores()} threads)" in shown


@pytest.mark.skipif(cores() == 1, reason="one core has one thread anyway")
def test_what_the_user_sets_is_kept_and_said(tiny, tmp_path, unset):
    threads, shown = launched(tiny, tmp_path / "by_variable", *CONFIG, OMP_NUM_THREADS="1")
    assert threads == 1 and f"1 thread on {cores()} cores, because OMP_NUM_THREADS says so" in shown
    assert launched(tiny, tmp_path / "by_flag", *CONFIG, "--num_cpu_threads_per_process", "1")[0] == 1


@pytest.mark.skipif(cores() == 1, reason="one core has one thread anyway")
def test_generation_takes_all_cores_too(tiny, tmp_path, unset):
    command = ["launch/generate.py", "--model", tiny / "fp32", "--contexts", tiny / "stories.jsonl"]
    command += ["--num_contexts", 2, "--context_len", 8, "--max_length", 16, "--output_dir", tmp_path / "made"]
    done = run([*LAUNCH, *CONFIG, *command])
    assert re.search(rf"in this process, {cores()} threads\n", done.stdout), done.stdout + done.stderr

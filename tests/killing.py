"""Runs of the tiny recipe in processes of their own, to be stopped in the middle."""

import json
import subprocess
import sys
import time

import psutil
from conftest import LAUNCH, REPOSITORY, flags

CHUNKED = ("zero2", "zero3")  # whose loss is computed in chunks, as it is of models with a large vocabulary


def start_and_wait_for(command, run_dir, step):
    """Start a run and return its process once metrics.jsonl holds `step` steps."""
    process = subprocess.Popen(
        [str(word) for word in command], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 120
    while not (run_dir / "metrics.jsonl").exists() or len(read_whole_losses(run_dir)) < step:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.005)
    return process


def read_whole_losses(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines if '"train"' in line]


def kill_all(process):
    """SIGKILL the launcher and every rank: ranks outlive a killed launcher."""
    family = [process, *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    process.communicate()
    psutil.wait_procs(family[1:], timeout=10)


def command(name, tiny, folder, *extra, **changes):
    launch = [sys.executable, "launch/hyperfit.py"]
    if name != "single":
        launch = [
            *LAUNCH,
            "--config_file",
            f"accelerate_configs/{name}.yaml",
            "--num_processes",
            2,
            "tests/chunked_hyperfit.py" if name in CHUNKED else "launch/hyperfit.py",
            "--cpu",
        ]
    values = flags(
        model=tiny / "fp32",
        dataset=tiny / "stories.jsonl",
        output_dir=folder,
        mixed_precision="no",
        epochs=10,
        **changes,
    )
    return [*launch, *values, *extra]

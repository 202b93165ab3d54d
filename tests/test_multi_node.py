"""launch/slurm_multi_node.sh with a stub of Slurm that starts both machines here: a real run over two launchers."""

import json
import socket
import sys
from pathlib import Path

import pytest
from conftest import flags, read_losses, run

pytestmark = pytest.mark.slow

SRUN = """#!/bin/bash
shift  # --kill-on-bad-exit=1
SLURM_NODEID=1 "$@" & other=$!
SLURM_NODEID=0 "$@"; code=$?
wait $other && exit $code
"""
SCONTROL = """#!/bin/bash
[ "$*" = "show hostnames node[1-2]" ] && printf '127.0.0.1\\nnode2\\n'
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_two_machines(tiny, tmp_path, reference):
    stubs = tmp_path / "bin"
    stubs.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    values = flags(
        model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run", mixed_precision="no", epochs=2
    )
    done = run(
        ["bash", "launch/slurm_multi_node.sh", "--cpu", *values],
        PATH=f"{stubs}:{Path(sys.executable).parent}:/usr/bin:/bin",
        SLURM_JOB_NUM_NODES="2",
        SLURM_JOB_NODELIST="node[1-2]",
        GPUS_PER_NODE="1",
        MAIN_PORT=str(free_port()),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert (environment["distributed_type"], environment["num_processes"]) == ("DEEPSPEED", 2)
    differences = [abs(a - b) for a, b in zip(read_losses(tmp_path / "run"), read_losses(reference)[:8], strict=True)]
    assert max(differences) <= 1e-4

"""What a reader needs to repeat a run: versions, commit, hardware, launch."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "hyperfitting",
    "torch",
    "transformers",
    "accelerate",
    "deepspeed",
    "datasets",
    "tokenizers",
    "safetensors",
    "numpy",
)


def describe_environment(accelerator, request) -> dict:
    """What a reader needs to repeat a run: versions, commit, hardware, launch."""
    import torch

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    versions["torch"] = torch.__version__  # with its CUDA build, which the metadata of a wheel may leave out
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    plugin = accelerator.state.deepspeed_plugin
    return {
        "versions": versions,
        "python": platform.python_version(),
        "git_commit": _commit(),
        "command": sys.argv,
        "hardware": {"gpus": gpus, "cpu": platform.processor() or platform.machine(), "cpu_count": os.cpu_count()},
        "threads_per_process": torch.get_num_threads(),
        "distributed_type": accelerator.distributed_type.value,
        "num_processes": accelerator.num_processes,
        "mixed_precision": accelerator.mixed_precision,
        "accelerate_config": request.config_file.read_text() if request and request.config_file else None,
        "deepspeed_config": plugin.deepspeed_config if plugin else None,
    }


def _commit() -> str | None:
    """The commit of this code; None where it is no checkout, whatever repository encloses the installation."""

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    try:
        if git("ls-files", "--error-unmatch", Path(__file__).name).returncode:
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40").stdout.strip() or None
    except FileNotFoundError:  # no git
        return None

"""What every benchmark shares: a random Llama of a given size, alternating rounds, a table, and a dated JSON."""

import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.table import Table

from hyperfitting import hardware

RESULTS = Path(__file__).parent / "results"
# hidden, mlp, layers, heads, key groups, vocabulary; 15M is the shape of llama2.c's, 1.1b TinyLlama's, 8b Llama 3.1's
SHAPES = {
    "15m": (288, 768, 6, 6, 6, 32000),
    "0.1b": (768, 2048, 12, 12, 12, 32000),
    "1.1b": (2048, 5632, 22, 32, 4, 32000),
    "8b": (4096, 14336, 32, 32, 8, 128256),
}


def llama_config(size: str, positions: int = 2048):
    from transformers import LlamaConfig

    hidden, mlp, layers, heads, groups, vocabulary = SHAPES[size]
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=positions,
        tie_word_embeddings=size == "15m",
        initializer_range=0.1,  # wide, so that greedy texts differ and no two logits are near each other
    )


def random_llama(size: str, dtype: torch.dtype = torch.float32, positions: int = 2048):
    """A Llama of that size with random weights, on the GPU when there is one."""
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(llama_config(size, positions)).to(device(), dtype).eval()


def save_random_llama(size: str, folder: Path) -> None:
    """Write `random_llama(size)` for processes that load it: the 15M model in fp32, larger ones as they are published, in
    bf16. This process keeps no memory of the GPU."""
    dtype = torch.float32 if size == "15m" else torch.bfloat16
    random_llama(size, dtype).save_pretrained(folder)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def alternate(sides: dict[str, Callable], rounds: int) -> dict[str, dict]:
    """Run the sides in turn, `rounds` times after a warm-up; wall and CPU seconds of each run, and the last result."""
    measured = {name: {"wall": [], "cpu": [], "result": side()} for name, side in sides.items()}
    for _ in range(rounds):
        for name, side in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            measured[name]["result"] = side()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            measured[name]["wall"].append(time.perf_counter() - wall)
            measured[name]["cpu"].append(time.process_time() - cpu)
    return measured


def median_range(values: list[float], digits: int = 0) -> str:
    return f"{statistics.median(values):,.{digits}f} [{min(values):,.{digits}f}, {max(values):,.{digits}f}]"


def peak_memory() -> int:
    """Bytes: the GPU's, or this process's resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_memory() -> int:
    """Bytes of this process that are in memory now."""
    return psutil.Process().memory_info().rss


def matmul_rate(dtype: torch.dtype) -> float:
    """FLOP/s of square matrix products; on the CPU per CPU-second, because neighbours take wall time."""
    return hardware.matmul_rate(dtype, device().type, _clock())


def copy_rate() -> float:
    """Bytes read and written in a second by copies that fit no cache; on the CPU per CPU-second."""
    return hardware.copy_rate(device().type, _clock())


def cores_at_work() -> int:
    """What rates per CPU-second are multiplied by, to be the machine's in wall time."""
    return 1 if torch.cuda.is_available() else torch.get_num_threads()


def _clock() -> Callable[[], float]:
    return time.perf_counter if torch.cuda.is_available() else time.process_time


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=RESULTS.parent, capture_output=True, text=True).stdout.rstrip()


def uncommitted() -> list[str]:
    """Lines of `git status` on what is neither results nor prose: code that nobody could find again."""
    found = _git("status", "--porcelain", "--", ":/", ":(exclude)results", ":(exclude,top)*.md", ":(exclude,top)docs")
    return found.splitlines()


def circumstances() -> dict:
    """Hardware, versions and commit."""
    name = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{platform.machine()} CPU with {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores"
    )
    return {
        "date": datetime.date.today().isoformat(),
        "hardware": name,
        "threads": torch.get_num_threads(),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "versions": {package: metadata.version(package) for package in ("torch", "transformers", "hyperfitting")},
    }


def report(name: str, title: str, columns: list[str], rows: list[list[str]], facts: dict) -> Path | None:
    """Print a table and write benchmarks/results/DATE-NAME.json, whose path is returned; None, and nothing is written, where
    the code was not committed: the file would name a commit that does not make it."""
    about, changed = circumstances(), uncommitted()
    table = Table(title=title, caption=f"{about['hardware']}, {about['threads']} threads, commit {about['commit']}")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    path = RESULTS / f"{about['date']}-{name}.json"
    if changed:
        print(f"{path.name} is not written, because this code is not committed: commit it and measure again")
        print("\n".join(changed))
        return None
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps({**about, "title": title, "columns": columns, "rows": rows, **facts}, indent=2) + "\n")
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return path

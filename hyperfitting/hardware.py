"""What a machine computes with, and how fast: GPUs by their data sheets, this machine's CPU by measuring it."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .processes import find_launcher, world_size


@dataclass(frozen=True)
class Rates:
    """What one process gets out of its machine in a second.

    Attributes:
        flops: floating-point operations of matrix products, at the dtype of the computation.
        memory: bytes read and written in the memory of the device.
        local, network: bytes sent in a collective within a machine, and between machines.
        host: bytes of optimizer state that move in the CPU's memory and over its bus, for offloading.
    """

    flops: float
    memory: float
    local: float
    network: float
    host: float


@dataclass(frozen=True)
class Gpu:
    """A GPU's data sheet: dense bf16 FLOP/s, bytes/s of its memory, bytes/s to its neighbours in one direction."""

    flops: float
    memory: float
    link: float

    def rates(self) -> Rates:
        """What a run gets of it, by assumption: 40 % of the FLOP/s, 80 % of the memory, two thirds of the link; one
        400 Gbit/s port of a network per GPU, of which 80 %; 20 GB/s to and in the CPU's memory."""
        return Rates(flops=0.4 * self.flops, memory=0.8 * self.memory, local=self.link / 1.5, network=4e10, host=2e10)


# The SXM kind where there are several; the last two have no NVLink and talk over PCIe 4.
GPUS = {
    "B200": Gpu(flops=2250e12, memory=8e12, link=900e9),
    "H200": Gpu(flops=989e12, memory=4.8e12, link=450e9),
    "H100": Gpu(flops=989e12, memory=3.35e12, link=450e9),
    "A100": Gpu(flops=312e12, memory=2.04e12, link=300e9),
    "L40S": Gpu(flops=362e12, memory=0.864e12, link=32e9),
    "RTX 4090": Gpu(flops=165e12, memory=1.008e12, link=32e9),
}


def gpu_here() -> str | None:
    """The name in GPUS of this machine's first GPU; None without one, or when it is not listed."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((known for known in GPUS if known in name), None)


def cores() -> int:
    """CPU cores that this process may run on."""
    # macOS does not say which they are.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def use_all_cores() -> None:
    """Let the only process of an `accelerate launch` compute with all cores of a machine without a GPU.

    `accelerate launch` sets OMP_NUM_THREADS=1 in a process that it starts, which torch takes as its default and not as a
    limit. Nothing changes when the user set OMP_NUM_THREADS or --num_cpu_threads_per_process, or when there are several
    processes, which share the cores.
    """
    if torch.cuda.is_available() or world_size() > 1:
        return
    launcher = find_launcher()
    if (
        launcher
        and not launcher.arguments.num_cpu_threads_per_process
        and "OMP_NUM_THREADS" not in launcher.environment
    ):
        torch.set_num_threads(cores())


def describe_cores() -> str:
    """How many threads of this process compute, and why not more."""
    threads, all_cores = torch.get_num_threads(), cores()
    text = f"{threads} thread{'s' if threads > 1 else ''}"
    if threads < all_cores and world_size() == 1:
        text += f" on {all_cores} cores, because OMP_NUM_THREADS says so"
    return text


def cpu_rates(dtype: torch.dtype, processes: int) -> Rates:
    """What each of `processes` on this machine gets of its CPU, measured in a few seconds with this process's threads.

    The processes share the cores and the memory. Between them gloo sends a fifteenth of what the memory copies, as
    benchmarks/train_scaling.py measured it.
    """
    memory = copy_rate() / processes
    link = memory / 15
    return Rates(flops=matmul_rate(dtype) / processes, memory=memory, local=link, network=link, host=memory)


def matmul_rate(dtype: torch.dtype, device: str = "cpu", clock: Callable[[], float] = time.perf_counter) -> float:
    """FLOP/s of square matrix products, the best of a few, by the seconds of `clock`.

    They grow until one takes long enough to be timed: some CPUs multiply bf16 two hundred times slower than fp32.
    """
    width, seconds = 128, 0.0
    while seconds < 0.05 and width < 8192:
        width *= 2
        a, b = (torch.randn(width, width, device=device).to(dtype) for _ in range(2))
        seconds = _best_seconds(lambda a=a, b=b: a @ b, clock)
    return 2 * width**3 / seconds


def copy_rate(device: str = "cpu", clock: Callable[[], float] = time.perf_counter) -> float:
    """Bytes read and written in a second by copies of fp32 that fit no cache, the best of a few, by `clock`."""
    source, target = (torch.ones(2**26, device=device) for _ in range(2))
    return 2 * source.nbytes / _best_seconds(lambda: target.copy_(source), clock)


def _best_seconds(call: Callable, clock: Callable[[], float]) -> float:
    seconds = []
    for _ in range(4):  # the first one warms up
        start = clock()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    return min(seconds[1:])

"""Keep what a CPU computation frees for its next step, instead of handing it back to the kernel."""

import contextlib
import ctypes
from collections.abc import Iterator

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
DEFAULT_MMAP_MAX, LARGEST_TRIM_THRESHOLD = 65536, 64 * 2**20  # glibc's, the second where its own adjustment ends
NEVER = -1


@contextlib.contextmanager
def kept_memory(device: torch.device) -> Iterator[None]:
    """Inside, when `device` is the CPU, glibc's malloc keeps the memory of freed tensors, and gives it back at the end.

    It would otherwise take every tensor above 32 MiB from the kernel anew, which zeroes it page by page: a tenth of a
    training step in fp32 and a quarter of one in bf16 (benchmarks/README.md). Other C libraries are left as they are. Not to be
    nested: the end of an inner one ends both.
    """
    library = ctypes.CDLL(None)
    if device.type != "cpu" or not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_MAX, DEFAULT_MMAP_MAX)
        library.mallopt(M_TRIM_THRESHOLD, LARGEST_TRIM_THRESHOLD)
        library.malloc_trim(0)

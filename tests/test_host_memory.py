import resource
import sys

import pytest
import torch
from conftest import REPOSITORY, run

from hyperfitting.host_memory import kept_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux counts them")
MEBIBYTE, PAGES_OF_A_TENSOR = 2**20, 64 * 2**20 // resource.getpagesize()


def page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def write_a_tensor() -> None:
    torch.ones(16 * MEBIBYTE)  # 64 MiB


def test_freed_tensors_are_used_again_and_given_back_at_the_end():
    before = resident_bytes()
    with kept_memory(torch.device("cpu")):
        for _ in range(30):  # until the heap has a place for an aligned tensor
            write_a_tensor()
        faults = page_faults()
        for _ in range(10):
            write_a_tensor()
        assert page_faults() - faults < PAGES_OF_A_TENSOR
    assert resident_bytes() - before < 32 * MEBIBYTE


def test_memory_is_given_back_after_an_error():
    before = resident_bytes()
    with pytest.raises(ZeroDivisionError), kept_memory(torch.device("cpu")):
        write_a_tensor()
        raise ZeroDivisionError
    assert resident_bytes() - before < 32 * MEBIBYTE


@pytest.mark.slow
def test_malloc_is_left_alone_when_the_computation_is_on_a_gpu():
    """In a process of its own: a heap that has held large tensors before may keep a place for this one by itself."""
    script = f"""
import torch
from test_host_memory import kept_memory, page_faults, write_a_tensor
with kept_memory(torch.device("cuda")):
    faults = page_faults()
    for _ in range(10):
        write_a_tensor()
    assert page_faults() - faults > 9 * {PAGES_OF_A_TENSOR}
"""
    done = run([sys.executable, "-c", script], PYTHONPATH=str(REPOSITORY / "tests"))
    assert done.returncode == 0, done.stderr

"""Every call that changes the disk fails once, and the process is killed around it: nothing finished is gone, and the same
command ends as if nothing had been. All of it takes 21 minutes on two cores: `pytest -m faults`."""

import sys

import pytest
from conftest import run

pytestmark = pytest.mark.slow


def inject(tiny, folder, count=0):
    done = run([sys.executable, "tests/faults.py", tiny, folder, count], timeout=7200)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_sample_of_faults(tiny, tmp_path):
    inject(tiny, tmp_path, count=8)


@pytest.mark.faults
def test_all_faults(tiny, tmp_path):
    inject(tiny, tmp_path)

"""The processes of a training keep the memory that they free."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from seqvae.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
plain = faults()
assert keep_freed_memory()
for _ in range(5):  # until the heap has grown
    faults()
print(plain, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has it")
def test_arrays_that_are_made_again_take_no_new_pages():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    plain, kept = map(int, done.stdout.split())
    assert plain > 10_000  # pages of 4 KiB
    assert kept < plain / 100

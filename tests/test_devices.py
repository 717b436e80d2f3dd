import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from landmark_models.devices import keep_freed_memory
{before}
for _ in range(3):
    torch.ones(12_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(12_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or platform.machine() != "x86_64" or "LD_PRELOAD" in os.environ,
    reason="tensors are glibc's there alone: PyTorch has another allocator on ARM",
)
def test_freed_memory_is_reused():
    faults = [
        int(subprocess.check_output([sys.executable, "-c", FAULTS.format(before=before)], text=True))
        for before in ("", "keep_freed_memory()")
    ]
    assert faults[0] > 1000
    assert faults[1] < faults[0] / 5  # a small block between may cost one large block its place

import os
import platform
import subprocess
import sys

import pytest

from landmark_models.devices import available_cores, own_cores

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
    assert faults[1] < faults[0] / 2  # now and then a small block between costs a large one its place


V2 = {"proc/self/cgroup": "0::/pod/box\n"}
V1 = {"proc/self/cgroup": "9:memory:/docker/box\n4:cpu,cpuacct:/docker/box\n0::/\n"}
V1_TOP = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({}, 64, id="no cgroups"),
        pytest.param(V2 | {"sys/fs/cgroup/pod/box/cpu.max": "200000 100000\n"}, 2, id="own quota"),
        pytest.param(V2 | {"sys/fs/cgroup/pod/cpu.max": "350000 100000\n"}, 3, id="quota of a group above"),
        pytest.param(V2 | {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1, id="part of a core"),
        pytest.param(V2 | {"sys/fs/cgroup/pod/box/cpu.max": "max 100000\n"}, 64, id="no quota"),
        pytest.param(V2 | {"sys/fs/cgroup/unified/pod/box/cpu.max": "400000 100000\n"}, 4, id="beside version 1"),
        pytest.param(V2 | {"sys/fs/cgroup/pod/box/cpu.max": "some words\n"}, 64, id="nonsense"),
        pytest.param({"proc/self/cgroup": "nonsense\n"}, 64, id="no list of groups"),
        pytest.param(
            V1
            | {f"{V1_TOP}/docker/box/cpu.cfs_quota_us": "300000", f"{V1_TOP}/docker/box/cpu.cfs_period_us": "100000"},
            3,
            id="version 1",
        ),
        pytest.param(
            V1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            2,
            id="version 1, seen from inside a container",
        ),
        pytest.param(
            V1 | {f"{V1_TOP}/cpu.cfs_quota_us": "-1", f"{V1_TOP}/cpu.cfs_period_us": "100000"},
            64,
            id="version 1, no quota",
        ),
    ],
)
def test_cores_are_those_that_quotas_leave(files, cores, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert available_cores(tmp_path) == cores


@pytest.mark.parametrize("variable", ["LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"])
def test_processes_of_one_machine_share_its_cores(variable, monkeypatch):
    monkeypatch.setattr("landmark_models.devices.available_cores", lambda: 32)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "64")  # on all machines
    assert own_cores() == 32
    monkeypatch.setenv(variable, "8")
    assert own_cores() == 4
    monkeypatch.setenv(variable, "64")
    assert own_cores() == 1

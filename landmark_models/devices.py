"""What this machine computes with: cores, devices, fast number formats, memory."""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import torch

_BF16 = ("avx512_bf16", "bf16")  # bfloat16 instructions on x86 and on ARM, as torch.cpu calls them
# how launchers call the number of processes they start on a machine: torchrun and accelerate, then those of MPI
_LOCAL_PROCESSES = ("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def available_cores(system: Path = Path("/")) -> int:
    """The number of CPU cores this process may use: those it may run on, and no more than its cgroups' quotas allow.

    `docker --cpus` and Kubernetes limits are quotas. A part of a core doesn't count, but there is at least one.
    `system` is where `proc` and `sys` are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(int(min([cores, *_cpu_quotas(system)])), 1)


def own_cores() -> int:
    """This process's share of `available_cores`, if a launcher started several processes on this machine."""
    started = next((os.environ[name] for name in _LOCAL_PROCESSES if name in os.environ), "1")
    return max(available_cores() // int(started), 1)


def _cpu_quotas(system: Path) -> Iterator[float]:
    """The quotas, in cores, of the cgroups that this process is in and of those above them, in version 1 or 2.

    In a container, the paths of its cgroups may be the host's, which don't exist there: its own are at the top.
    """
    with suppress(OSError, ValueError):
        for line in (system / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            group = PurePosixPath(path.lstrip("/"))
            for mounted in (f"sys/fs/cgroup/{controllers}", "sys/fs/cgroup/cpu", "sys/fs/cgroup/unified"):
                for folder in (system / mounted / parent for parent in (group, *group.parents)):
                    yield from _quota(folder)


def _quota(group: Path) -> Iterator[float]:
    """The quota of one cgroup, in cores, if it has one."""
    with suppress(OSError, ValueError, ZeroDivisionError):  # "max" isn't a number: there is no limit
        quota, period = (group / "cpu.max").read_text().split()
        yield int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(quota) > 0:  # -1: there is no limit
            yield int(quota) / int(period)


def best_device() -> str:
    """The default device: the first CUDA GPU, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name(device: torch.device) -> str:
    """The device as a person would name it, e.g. "CPU, 2 threads, AVX-512 with bf16"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    cpu = f"CPU, {threads} thread{'s' * (threads > 1)}, {instruction_set()}"
    return cpu if device.type == "cpu" else device.type


def fast_precision(device: torch.device) -> torch.dtype:
    """The fastest type to run a trained network's layers in on a device.

    bfloat16 where the hardware has it; otherwise float16 on a GPU and float32 on a CPU, and on any CPU with a PyTorch
    older than 2.11, which doesn't list the CPU's features.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu":
        # not torch.ops.mkldnn's answer: with AVX-512 alone it says yes, but emulates bfloat16, slower than float32
        return torch.bfloat16 if _has_cpu_feature(*_BF16) else torch.float32
    return torch.float16 if device.type == "mps" else torch.float32


def instruction_set() -> str:
    """The CPU's vector instructions that PyTorch uses, e.g. "AVX-512 with bf16", "AVX2" or "NEON".

    Speed depends on them more than on the number of cores, so every measured speed is reported with them.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    on_arm = platform.machine().lower() in ("aarch64", "arm64")
    base = "NEON" if on_arm else "SSE2"  # what every such CPU has; PyTorch calls it "DEFAULT"
    name = {"DEFAULT": base, "NO AVX": base, "AVX512": "AVX-512"}.get(capability, capability)
    if not (on_arm or capability == "AVX512"):
        return name
    extras = [extra for extra, flags in {"bf16": _BF16, "AMX": ("amx_bf16",)}.items() if _has_cpu_feature(*flags)]
    return f"{name} with {' and '.join(extras)}" if extras else name


def _has_cpu_feature(*flags: str) -> bool:
    """Whether the CPU has one of these features; False in a PyTorch older than 2.11."""
    features: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(features.get(flag) for flag in flags)


def keep_freed_memory() -> None:
    """Make this process reuse the memory it frees, where glibc allocates tensors; elsewhere nothing changes.

    glibc returns large blocks to the system at once and gets new ones, page by page, for every layer's output. Training
    a small network on a CPU spends a tenth of its time or more on that.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)  # bytes, the maximum

"""What this machine computes with: cores, the precision that its hardware is fast in, memory."""

import ctypes
import os
import platform
import sys
from typing import Any

import torch

__all__ = ["available_cores", "best_device", "device_name", "fast_precision", "instruction_set", "keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def best_device() -> str:
    """The device that networks are computed on where nobody names one: the first CUDA GPU, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name(device: torch.device) -> str:
    """The device as a person would name it, e.g. "CPU, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else device.type


def fast_precision(device: torch.device) -> torch.dtype:
    """The type that a network's layers are computed in fastest without being retrained.

    bfloat16 where the hardware has it, on a GPU else float16, on a CPU else float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu":
        # oneDNN says yes to every AVX-512, where it would imitate bfloat16, slower than float32
        on_x86 = platform.machine().lower() in ("x86_64", "amd64")
        fast = torch.cpu._is_avx512_bf16_supported() if on_x86 else torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.float16 if device.type == "mps" else torch.float32


def instruction_set() -> str:
    """The CPU's vector instructions that PyTorch uses, e.g. "AVX-512 with bf16", "AVX2" or "NEON".

    Speed depends on them more than on the number of cores, so they are said beside every figure.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    on_arm = platform.machine().lower() in ("aarch64", "arm64")
    base = "NEON" if on_arm else "SSE2"  # what every CPU of its kind has; PyTorch names no more than "DEFAULT"
    name = {"DEFAULT": base, "NO AVX": base, "AVX512": "AVX-512"}.get(capability, capability)
    if not (on_arm or capability == "AVX512"):
        return name
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every PyTorch that we take
    extras = {"bf16": ("avx512_bf16", "bf16"), "AMX": ("amx_bf16",)}
    present = [extra for extra, flags in extras.items() if any(features.get(flag) for flag in flags)]
    return f"{name} with {' and '.join(present)}" if present else name


def keep_freed_memory() -> None:
    """Have this process use again what it frees, where glibc allocates tensors; elsewhere nothing changes.

    glibc gives large blocks back to the system at once and takes them anew, page by page, for every layer's output:
    training a small network on a CPU spends a tenth of its time on that, or more.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)  # bytes, the largest that it takes

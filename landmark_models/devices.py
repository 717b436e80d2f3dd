"""What this machine computes with: cores, the precision that its hardware is fast in, memory."""

import ctypes
import os
import platform
import sys

import torch

__all__ = ["available_cores", "fast_precision", "keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def keep_freed_memory() -> None:
    """Have this process use again what it frees, where glibc allocates tensors; elsewhere nothing changes.

    glibc gives large blocks back to the system at once and takes them anew, page by page, for every layer's output:
    training a small network on a CPU spends a tenth of its time on that, or more.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)  # bytes, the largest that it takes

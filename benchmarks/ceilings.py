"""The ceilings of this machine, products and memory, and the least time that an epoch needs."""

from __future__ import annotations

import os
import time

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def device() -> torch.device:
    """Return the GPU, or the CPU if there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _best(device: torch.device, function, repeats: int = 7) -> float:
    def once() -> float:
        started = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    once()
    return min(once() for _ in range(repeats))


def product_rate(precision: str, device: torch.device) -> float:
    """Measure the floating-point operations per second of a large product."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, size, size, device=device).to(DTYPES[precision])
    return 2 * size**3 / _best(device, lambda: a @ b)


def memory_rate(device: torch.device) -> float:
    """Measure the bytes per second that a sum of two large tensors reads and writes."""
    a, b = torch.randn(2, 2**25, device=device)
    out = torch.empty_like(a)
    return 3 * 4 * 2**25 / _best(device, lambda: torch.add(a, b, out=out))


def floor_seconds(layers: int, embed_dim: int, seeds: int, products: float, memory: float) -> float:
    """Compute the least time for an epoch of reversal at V = 800, batch 64, evaluated once.

    Products of 340 training sentences forward and backward and of 400 forward, two tokens each
    except at the end of the last block; and AdamW's seven passes over the parameters in six steps.
    """
    d, words = embed_dim, 802
    whole, last = layers * 12 * d * d - 9 * d * d, 9 * d * d
    per_sentence = 2 * (2 * whole + last + words * d)
    operations = seeds * per_sentence * (3 * 340 + 400)
    parameters = layers * 12 * d * d + 2 * words * d
    return operations / products + seeds * 6 * 7 * 4 * parameters / memory


def threads() -> int:
    """Count the threads that this process may use."""
    return len(os.sched_getaffinity(0))

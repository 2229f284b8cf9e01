"""Memory of a training process: what a seed needs, how many fit, and what is kept."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress

import psutil
import torch

from reversal_curse.cost import asked_tokens
from reversal_curse.errors import UserError
from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.sweep import run_directory

# Of <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, where it is glibc's.

    Each step allocates and frees the same tensors. By default the larger ones go back to the
    system each time, which clears their pages again: a third of the time of an evaluation.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, -1)


def release_memory() -> None:
    """Forget what the last run left: compiled code, and a GPU's memory."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()


def bytes_per_seed(settings: Settings) -> int:
    """Estimated peak of one seed's parameters, gradients, moments and activations, in bytes."""
    task = TASKS[settings.task]
    words, d, length = task.vocabulary(settings), settings.embed_dim, task.length(settings)
    sentences = task.sentences(settings)
    if settings.family == "one_layer":  # Y, Z and their gradients; scores of whole rows of Z
        return 8 * (8 * words**2 + 4 * sentences * length * words)
    if settings.family == "bilinear":
        return 4 * (4 * d**2 + 2 * words * d + 10 * sentences * words)
    parameters = 12 * settings.layers * d**2 + 2 * words * d
    # Weights and two moments; at the gradient probe three gradients, and meanwhile the memory of
    # training's own, which CUDA graphs keep to themselves.
    weights = 4 * 7 * parameters
    read_out = 4 * words * asked_tokens(settings)
    kept = 4 * length * d * 36 * settings.layers  # for the backward pass
    passing = 4 * length * d * 14
    training = min(settings.batch_size, sentences) * (kept + 4 * read_out)
    evaluation = sentences * (passing + 5 * read_out)
    return weights + max(training, evaluation)


def free_bytes(device: torch.device) -> int:
    """Memory that a run may use: four fifths of what the GPU, the machine or SLURM's job has."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
        allowed = os.environ.get("SLURM_MEM_PER_NODE", "")  # MiB
        if allowed.isdigit() and int(allowed):
            free = min(free, int(allowed) * 2**20)
    return free // 5 * 4


def seed_groups(settings: Settings, seeds: list[int], free: int) -> list[list[int]]:
    """The seeds in as few groups as fit into `free` bytes; raises UserError where none fits."""
    needed = bytes_per_seed(settings)
    fitting = free // needed
    if not fitting:
        raise UserError(
            f"{run_directory(settings)}: one seed needs about {needed / 1e9:.2g} GB of memory and "
            f"{free / 1e9:.2g} GB are there for it: give it a larger GPU (or the job more memory), "
            "or lower layers, embed_dim or batch_size"
        )
    count = -(-len(seeds) // fitting)
    size = -(-len(seeds) // count)
    return [seeds[start : start + size] for start in range(0, len(seeds), size)]

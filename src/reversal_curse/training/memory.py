"""Memory of a training process: what a seed needs, and how many seeds fit."""

import gc
import os
import sys

import psutil
import torch

from reversal_curse.config.errors import UserError
from reversal_curse.config.grid import run_directory
from reversal_curse.config.settings import Settings
from reversal_curse.families import FAMILIES


def release_memory() -> None:
    """Release what the last run left: compiled code, and a GPU's memory."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Return what a run may use: 4/5 of what is free on the GPU, the machine or in SLURM's job."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
        allowed = os.environ.get("SLURM_MEM_PER_NODE", "")  # MiB
        if allowed.isdigit() and int(allowed):
            free = min(free, int(allowed) * 2**20)
    return free // 5 * 4


def seed_groups(settings: Settings, seeds: list[int], free: int) -> list[list[int]]:
    """Split seeds into the fewest groups that fit; raises UserError if one seed alone does not."""
    needed = FAMILIES[settings.family].memory(settings)
    fitting = int(free // needed)
    if not fitting:
        sizes = f"one seed needs about {needed / 1e9:.2g} GB, {free / 1e9:.2g} GB are free"
        ways = "use a larger GPU, ask for more memory, or lower layers, embed_dim or batch_size"
        raise UserError(f"{run_directory(settings)}: {sizes}; {ways}")
    count = -(-len(seeds) // fitting)
    size = -(-len(seeds) // count)
    return [seeds[start : start + size] for start in range(0, len(seeds), size)]

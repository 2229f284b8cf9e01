"""What a training process runs on."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

import torch

from reversal_curse.gpus import claim

_claims = []  # kept open as long as the process lives


@cache
def training_device() -> torch.device:
    """A GPU that no other process of this user trains on, or the CPU."""
    count = torch.cuda.device_count()
    if not count:
        return torch.device("cpu")
    names = [str(torch.cuda.get_device_properties(index).uuid) for index in range(count)]
    folder = Path(tempfile.gettempdir()) / f"reversal-curse-gpus-{os.getuid()}"
    index, file = claim(names, folder)
    _claims.append(file)
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device

"""What a training process runs on."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

import torch

from reversal_curse.gpus import claim

_claims = []  # kept open as long as the process lives


def training_device() -> torch.device:
    """A GPU that no other process of this user trains on, or the CPU."""
    return training_devices(1)[0]


@cache
def training_devices(count: int) -> tuple[torch.device, ...]:
    """So many GPUs that no other process of this user trains on; all, if fewer; or the CPU."""
    there = torch.cuda.device_count()
    if not there:
        return (torch.device("cpu"),)
    names = [str(torch.cuda.get_device_properties(index).uuid) for index in range(there)]
    folder = Path(tempfile.gettempdir()) / f"reversal-curse-gpus-{os.getuid()}"
    left, devices = list(range(there)), []
    while left and len(devices) < count:
        index, file = claim([names[i] for i in left], folder)
        _claims.append(file)
        devices.append(torch.device("cuda", left.pop(index)))
    torch.cuda.set_device(devices[0])
    return tuple(devices)

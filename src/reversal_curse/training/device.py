"""The device that a training process runs on."""

import os
import tempfile
from functools import cache
from pathlib import Path

import torch

from reversal_curse.training.gpus import claim

_claims = []  # kept open as long as the process lives


def training_device() -> torch.device:
    """Take a GPU on which no other process of this user trains, or the CPU."""
    return training_devices(1)[0]


@cache
def training_devices(count: int) -> tuple[torch.device, ...]:
    """Take `count` such GPUs, or all if there are fewer; the CPU if there are none."""
    left = list(range(torch.cuda.device_count()))
    if not left:
        return (torch.device("cpu"),)
    folder = Path(tempfile.gettempdir()) / f"reversal-curse-gpus-{os.getuid()}"
    devices = []
    while left and len(devices) < count:
        names = [str(torch.cuda.get_device_properties(index).uuid) for index in left]
        place, file = claim(names, folder)
        _claims.append(file)
        devices.append(torch.device("cuda", left.pop(place)))
    torch.cuda.set_device(devices[0])
    return tuple(devices)

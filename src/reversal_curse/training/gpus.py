"""The GPUs of this machine, and which of them a process takes. Torch is loaded only to take one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_claims = []  # kept open as long as the process lives


def count_gpus() -> int:
    """Count the GPUs that local jobs may use: those of CUDA_VISIBLE_DEVICES, else all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    command = ["nvidia-smi", "--list-gpus"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def claim(names: list[str], folder: Path) -> tuple[int, IO[str] | None]:
    """Claim a free one of `names` until its file is closed, or share one; returns index, file."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for index, name in enumerate(names):
        file = open(folder / f"{name}.lock", "w", encoding="utf-8")  # noqa: SIM115 - kept open
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        return index, file
    return os.getpid() % len(names), None


def training_device() -> torch.device:
    """Take a GPU on which no other process of this user trains, or the CPU."""
    return training_devices(1)[0]


@cache
def training_devices(count: int) -> tuple[torch.device, ...]:
    """Take `count` such GPUs, or all if there are fewer; the CPU if there are none."""
    import torch

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

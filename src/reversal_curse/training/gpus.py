"""The GPUs of this machine, and which of them a process takes. Torch is loaded only to take one."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from reversal_curse.config.errors import UserError

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
    """Claim a free one of `names` until its file is closed, or share one; returns index, file.

    Raises UserError if others could write to the folder: their links would lead to any file.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_ours = found.st_uid == os.getuid() and not found.st_mode & 0o077
    if not (is_ours and stat.S_ISDIR(found.st_mode)):
        got = f"{stat.filemode(found.st_mode)} of user {found.st_uid}; remove it, or set TMPDIR"
        raise UserError(f"{folder}: must be a folder that only you can open, got {got}")
    for index, name in enumerate(names):
        file = open(folder / f"{name}.lock", "a", opener=_open_no_link)  # noqa: SIM115 - kept open
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        return index, file
    return os.getpid() % len(names), None


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


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
    # float32, also where a container's TORCH_ALLOW_TF32_CUBLAS_OVERRIDE would round to 10 bits
    torch.set_float32_matmul_precision("highest")
    return tuple(devices)

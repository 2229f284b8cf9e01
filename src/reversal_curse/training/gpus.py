"""The GPUs of this machine, and which of them a process takes."""

import fcntl
import os
import subprocess
from pathlib import Path
from typing import IO


def count_gpus() -> int:
    """How many GPUs local jobs may use: those of CUDA_VISIBLE_DEVICES, or all that NVIDIA lists."""
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
    """Claim the first of `names` that no other process has, until the file returned is closed.

    Returns its index, too. Where all are taken they are shared, by the number of the process.
    """
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

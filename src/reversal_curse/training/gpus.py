"""The GPUs of this machine, and which of them a process takes."""

import fcntl
import os
import subprocess
from pathlib import Path
from typing import IO


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
    """Claim the first of `names` that no other process has; returns its index and a lock file.

    The claim lasts until the file is closed. If all are taken, processes share them.
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

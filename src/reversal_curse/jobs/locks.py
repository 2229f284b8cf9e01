"""Locks that a killed Snakemake left behind, and that nobody holds any more."""

import fcntl
import shutil
from contextlib import suppress
from pathlib import Path

_held = []  # open as long as the process lives


def drop_dead_locks(folder: Path) -> None:
    """Delete Snakemake's locks below `.snakemake` in `folder` if no Snakemake is running there.

    Every Snakemake shares a lock that the system releases when the process ends, however it ends.
    """
    (folder / ".snakemake").mkdir(exist_ok=True)
    file = open(folder / ".snakemake/running", "a+", encoding="utf-8")  # noqa: SIM115 - kept open
    with suppress(OSError):  # somebody holds it, or the file system has no locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder / ".snakemake/locks", ignore_errors=True)
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)
    _held.append(file)

"""Why a run must stop before its end: a signal, or a job whose time is nearly up."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import datetime
from typing import Any

from reversal_curse.config.errors import UserError

TIME_IS_UP = 75  # EX_TEMPFAIL: try again
MARGIN = 120.0
"""Seconds before the end of a SLURM job at which a run stops."""
ECHO = 2.0
"""A second signal within these seconds repeats the first: a scheduler signals every process of a
job, and the process that watches over training passes its signal on."""


class Interrupted(UserError):
    """Work was stopped before it was finished; `status` is the exit status."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


def job_end() -> float | None:
    """Return when the time of our SLURM job is up (seconds since 1970); None outside a job."""
    end = os.environ.get("SLURM_JOB_END_TIME", "")  # Snakemake's job step removes it
    if end.isdigit():
        return float(end)
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return None
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%e"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
        return datetime.fromisoformat(answer.strip()).timestamp()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None  # no limit, or squeue does not answer


def asked_to_stop_by() -> list[signal.Signals]:
    """List the signals that ask to stop: that of a closed terminal too, unless it is ignored."""
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


class Interruption:
    """Listens for SIGTERM, SIGINT, SIGHUP and the SLURM job's end; a second signal acts at once."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._noted = 0.0
        self._end = job_end()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in asked_to_stop_by():
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self._signal is None:
            self._signal, self._noted = signal.Signals(number), time.monotonic()
        elif time.monotonic() - self._noted > ECHO:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def reason(self) -> str | None:
        """Say why the run must stop; None while it need not."""
        if self._signal:
            return self._signal.name
        if self._end is not None and time.time() >= self._end - MARGIN:
            return "the end of the job's time"
        return None

    def error(
        self, reason: str, epoch: int, epochs: int, saved: bool, unit: str = "epoch"
    ) -> Interrupted:
        """Make the error that ends the run."""
        kept = "; progress is saved: run it again to continue" if saved else ""
        status = 128 + self._signal if self._signal else TIME_IS_UP
        return Interrupted(f"stopped by {reason} after {unit} {epoch} of {epochs}{kept}", status)

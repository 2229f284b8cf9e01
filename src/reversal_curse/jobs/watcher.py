"""Watch over a training job, whose process may die by a fault in a library or a lack of memory.

The process that watches forks before anything is loaded: it costs milliseconds, and survives.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from reversal_curse.training.interruption import TIME_IS_UP, asked_to_stop_by

ENDED = (0, TIME_IS_UP, *(128 + n for n in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)))
"""Exit statuses of a process that finished, or was asked to stop."""
AFTER_A_DEFECT = 70
"""Exit status of a process that met an unexpected error: what it left behind is unknown."""


def say(text: str) -> None:
    """Print at once; a full disk is no reason to lose what was done."""
    with suppress(OSError):
        print(text, flush=True)


class Watched:
    """What the process that trains knows of those before it, and tells to the one that watches."""

    def __init__(self, lost: dict[str, str] | None = None, sender: int | None = None):
        """`lost`: why grid points failed at which earlier processes died, by run."""
        self.lost = lost or {}
        self._sender = sender

    def tell(self, run: str, failure: str = "") -> None:
        """Say which grid point is trained from now on, if any; or why it failed, as last words."""
        if self._sender is not None:
            os.write(self._sender, f"{run}\t{failure}\n".encode())


def watch(work: Callable[[Watched], int]) -> int:
    """Do the work in another process, again without what it died of; returns its exit status."""
    lost: dict[str, str] = {}
    while True:
        status, last = _fork(work, lost)
        run, failure = last
        if status in ENDED or not run:
            return status if status >= 0 else 128 - status
        cause = signal.Signals(-status).name if status < 0 else f"status {status}"
        lost = {**lost, run: failure or f"failed: its process died ({cause})"}
        say(f"{run}: {lost[run]}; the others go on in a fresh process")


def _fork(work: Callable[[Watched], int], lost: dict[str, str]) -> tuple[int, list[str]]:
    """Work in a process; returns its exit status, less than 0 for a signal, and its last words."""
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiver)
        try:
            status = work(Watched(lost, sender))
        except SystemExit as error:
            status = int(error.code or 0)
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)  # at once: all is written, and what libraries still do may fail
    asked: list[int] = []

    def note(number: int, frame: object) -> None:
        asked.append(number)
        if number != signal.SIGINT:  # Ctrl-C reaches it by itself
            os.kill(child, signal.SIGTERM)

    before = {number: signal.signal(number, note) for number in asked_to_stop_by()}
    os.close(sender)
    with os.fdopen(receiver, encoding="utf-8") as told:
        lines = told.read().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for number, handler in before.items():
        signal.signal(number, handler)
    if asked and status not in ENDED:
        # It ended between two grid points, while starting or failing, or by a second signal.
        say(f"stopped by {signal.Signals(asked[-1]).name}")
        status = 128 + asked[-1]
    return status, lines[-1].split("\t") if lines else ["", ""]

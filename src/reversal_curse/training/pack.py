"""One training job: several grid points, one after the other, in a process beside this one.

The process that trains may die, by a fault in a library or for want of memory; what it had
finished is kept, the grid point that it was at is noted, and another one goes on with the rest.
This one loads no torch.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from reversal_curse.atomic import replacing
from reversal_curse.collect import TRAINED
from reversal_curse.errors import UserError
from reversal_curse.runs import is_trained
from reversal_curse.settings import Settings
from reversal_curse.sweep import dataset_directory, run_directory

STOPPED = (75, 128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit statuses of a process that was asked to stop: see `interruption.py`."""
AFTER_A_DEFECT = 70
"""Exit status of a process that failed in a way nobody foresaw and told of it."""


@dataclass(frozen=True)
class Place:
    """Where a job reads and writes."""

    data: Path
    """Directory of the datasets."""
    trained: Path
    """Directory of finished runs."""
    checkpoints: Path
    logs: Path
    """Directory of the grid points' own logs."""

    def run(self, settings: Settings) -> Path:
        """The directory of a finished run."""
        return self.trained / run_directory(settings)

    def dataset(self, settings: Settings) -> Path:
        return self.data / dataset_directory(settings) / "dataset.parquet"

    def log(self, settings: Settings) -> Path:
        return self.logs / f"{run_directory(settings)}.log"


class Stopped(UserError):
    """The job was asked to stop; `status` is the exit status."""

    def __init__(self, status: int, done: int, points: int):
        super().__init__(
            f"stopped with {done} of {points} grid points finished; what was reached is kept: run "
            "it again to go on"
        )
        self.status = status


def train_pack(
    points: list[Settings],
    place: Place,
    report: Path,
    threads: int,
    checkpoint_seconds: float,
    last_attempt: bool,
) -> None:
    """Train what is not trained of `points`, and write `report`: what became of each.

    A grid point that fails costs its neighbours nothing. Raises UserError, with no `report`,
    where one failed and this is not the `last_attempt`, since the next one may have more
    memory; and Stopped where a signal or the end of the job's time asks to stop.
    """
    outcomes: dict[str, str] = {}
    waiting = []
    for settings in points:
        if is_trained(place.run(settings), settings):
            outcomes[run_directory(settings)] = TRAINED
        else:
            waiting.append(settings)
    while waiting:
        before = len(waiting)
        status = _train(waiting, place, threads, checkpoint_seconds, outcomes)
        waiting = [s for s in waiting if run_directory(s) not in outcomes]
        if status in STOPPED:
            done = sum(outcome == TRAINED for outcome in outcomes.values())
            raise Stopped(status, done, len(points))
        if waiting and status == AFTER_A_DEFECT and len(waiting) < before:
            print("the others go on in a fresh process", flush=True)
        elif waiting:  # the process died at the first of those left
            lost = run_directory(waiting.pop(0))
            outcomes[lost] = f"failed: its process died ({_cause(status)})"
            print(f"{lost}: {outcomes[lost]}", flush=True)
    failed = sum(outcome != TRAINED for outcome in outcomes.values())
    if failed and not last_attempt:
        raise UserError(
            f"{failed} of {len(points)} grid points failed and are tried again; the others are kept"
        )
    with replacing(report) as partial:
        partial.write_text(json.dumps(outcomes, indent=2) + "\n", encoding="utf-8")


def _cause(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _train(
    points: list[Settings],
    place: Place,
    threads: int,
    checkpoint_seconds: float,
    outcomes: dict[str, str],
) -> int:
    """Train in a process of its own, noting each outcome as it comes.

    Returns its status: 0 at its end, one of STOPPED where it was asked to stop, AFTER_A_DEFECT
    where it left the rest to another, a negative number for the signal that it died of.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(points, place, threads, checkpoint_seconds, sender)
    )
    started = time.monotonic()
    with _passing_on(process) as asked:
        process.start()
        sender.close()
        while True:
            try:
                directory, outcome = receiver.recv()
            except EOFError:
                break
            outcomes[directory] = outcome
            print(f"{directory}: {outcome}, after {time.monotonic() - started:.1f} s", flush=True)
        process.join()
    if asked and process.exitcode not in (0, *STOPPED):
        # Between two grid points, while it started or failed, or with a second signal.
        return 128 + asked[-1]
    return process.exitcode


@contextmanager
def _passing_on(process: multiprocessing.Process) -> Iterator[list[int]]:
    """SIGTERM goes on to the process; Ctrl-C reaches it by itself. Yields the signals that came."""
    asked: list[int] = []

    def note(number: int, frame: object) -> None:
        asked.append(number)
        if number == signal.SIGTERM and process.is_alive():
            process.terminate()

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _work(
    points: list[Settings],
    place: Place,
    threads: int,
    checkpoint_seconds: float,
    sender: Connection,
) -> None:
    """Train grid points one after the other, and send what became of each.

    After an error that is not about a grid point's settings or files the process ends: what
    such a one leaves (a GPU's memory, a lost context) must not fail those that come next.
    """
    # Imported here: torch is not for the process that watches.
    from reversal_curse.training.interruption import Interrupted, Interruption
    from reversal_curse.training.run import run_grid_point

    with Interruption() as interruption:
        for settings in points:
            try:
                _print_to(place.log(settings))
                run_grid_point(
                    settings,
                    place.dataset(settings),
                    place.run(settings),
                    threads,
                    place.checkpoints,
                    checkpoint_seconds,
                    interruption,
                )
                outcome = TRAINED
            except Interrupted as error:
                print(error, file=sys.stderr)
                sys.exit(error.status)
            except (UserError, OSError) as error:
                outcome = f"failed: {UserError(str(error))}"
                print(outcome, file=sys.stderr)
            except Exception as error:
                traceback.print_exc()
                sender.send((run_directory(settings), f"failed: {type(error).__name__}"))
                sys.exit(AFTER_A_DEFECT)
            sys.stdout.flush()
            sys.stderr.flush()
            sender.send((run_directory(settings), outcome))


def _print_to(log: Path) -> None:
    """From now on, whatever this process prints goes to the end of `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)

"""One training job: several grid points, trained one after the other in a process of their own.

That process may die, by a fault in a library or a lack of memory. The process here, which does not
load torch, then notes which grid point was lost, and starts another process for the rest.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from reversal_curse.config.errors import UserError
from reversal_curse.config.grid import dataset_directory, run_directory
from reversal_curse.config.settings import Settings
from reversal_curse.jobs.progress import TRAINED, JobProgress
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.provenance import code_of_training
from reversal_curse.tables.run_files import LOG, Runs
from reversal_curse.training.interruption import (
    TIME_IS_UP,
    Interrupted,
    Interruption,
    asked_to_stop_by,
)

STOPPED = (TIME_IS_UP, *(128 + n for n in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)))
"""Exit statuses of a process that was asked to stop."""
EVERY = 2.0
"""Seconds between two words on how far a grid point is."""
AFTER_A_DEFECT = 70
"""Exit status of a process that reported an unexpected error."""


def train_job(
    points: list[Settings], runs: Runs, report: Path, threads: int, checkpoint_seconds: float
) -> None:
    """Train those of `points` that are not trained yet; write `report` once all are.

    Raises UserError if some failed; the others are kept. Raises Interrupted if a signal or the end
    of the job's time asks to stop; the next call trains what is missing.
    """
    by_run = {run_directory(settings): settings for settings in points}
    outcomes = {run: TRAINED for run, settings in by_run.items() if runs.record(run, settings)}
    waiting = [settings for run, settings in by_run.items() if run not in outcomes]
    progress = JobProgress(runs.results / "progress" / report.name, outcomes)
    while waiting:
        before = len(waiting)
        status = _train(waiting, runs.results, threads, checkpoint_seconds, progress)
        waiting = [s for s in waiting if run_directory(s) not in outcomes]
        if status in STOPPED:
            done = f"{list(outcomes.values()).count(TRAINED)} of {len(points)} grid points finished"
            kept = "progress is saved: run it again to continue"
            progress.tell(ended="stopped")
            raise Interrupted(f"stopped with {done}; {kept}", status)
        if waiting and status == AFTER_A_DEFECT and len(waiting) < before:
            print("the others go on in a fresh process", flush=True)
        elif waiting:  # the process died at the first of those left
            cause = signal.Signals(-status).name if status < 0 else f"status {status}"
            lost = run_directory(waiting.pop(0))
            outcomes[lost] = f"failed: its process died ({cause})"
            print(f"{lost}: {outcomes[lost]}", flush=True)
    failed = [directory for directory, outcome in outcomes.items() if outcome != TRAINED]
    for directory in failed:  # print the end of its log where Snakemake shows it
        log = runs.folder(directory) / LOG
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        print("\n".join([f"--- end of {log}", *lines[-20:]]), flush=True)
    if failed:
        progress.tell(ended="failed")
        count = f"{len(failed)} of {len(points)} grid points failed"
        raise UserError(f"{count}; the others are kept; run the same command to retry")
    with replacing(report) as partial:
        partial.write_text(json.dumps({"trained": list(outcomes)}, indent=2) + "\n", "utf-8")
    progress.path.unlink(missing_ok=True)


def _train(
    points: list[Settings], results: Path, threads: int, seconds: float, progress: JobProgress
) -> int:
    """Train in another process, noting outcomes and progress; returns its exit code."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(points, results, threads, seconds, sender))
    asked: list[int] = []

    def note(number: int, frame: object) -> None:
        asked.append(number)
        if number != signal.SIGINT and process.is_alive():
            process.terminate()  # Ctrl-C reaches it by itself

    started = time.monotonic()
    before = {number: signal.signal(number, note) for number in asked_to_stop_by()}
    try:
        process.start()
        sender.close()
        while True:
            try:
                directory, outcome = receiver.recv()
            except EOFError:
                break
            if isinstance(outcome, dict):
                progress.tell(run=directory, **outcome)
                continue
            progress.outcomes[directory] = outcome
            progress.tell()
            print(f"{directory}: {outcome}, after {time.monotonic() - started:.1f} s", flush=True)
        process.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked and process.exitcode not in (0, *STOPPED):
        # It ended between two grid points, while starting or failing, or by a second signal.
        return 128 + asked[-1]
    return process.exitcode  # ty: ignore[invalid-explicit-return] - it has ended


def _work(
    points: list[Settings], results: Path, threads: int, seconds: float, sender: Connection
) -> None:
    """Train grid points, each with its own log, and send outcomes; exit at an unexpected error."""
    # Imported here: the process that watches does not need torch.
    from reversal_curse.training.grid_point import read_dataset, train_grid_point

    for settings in points:  # read the source now: it may be edited while the job runs
        code_of_training(settings.family, settings.task)
    with Interruption() as interruption:
        for settings in points:
            try:
                output = results / "runs" / run_directory(settings)
                output.mkdir(parents=True, exist_ok=True)
                with open(output / LOG, "a", encoding="utf-8") as file:
                    os.dup2(file.fileno(), 1)
                    os.dup2(file.fileno(), 2)
                path = results / "data" / dataset_directory(settings) / "dataset.parquet"
                data = read_dataset(path, settings)
                train_grid_point(
                    settings,
                    data,
                    output,
                    threads,
                    results / "checkpoints",
                    seconds,
                    interruption,
                    _teller(settings, sender),
                )
                outcome = TRAINED
            except Interrupted as error:
                print(error, file=sys.stderr)
                sys.exit(error.status)
            except (UserError, OSError) as error:
                outcome = f"failed: {UserError(str(error))}"
            except Exception as error:
                sender.send((run_directory(settings), f"failed: {type(error).__name__}"))
                with suppress(OSError):
                    traceback.print_exc()
                sys.exit(AFTER_A_DEFECT)
            # Send the outcome before printing, which may fail on a full disk.
            sender.send((run_directory(settings), outcome))
            with suppress(OSError):
                print(outcome, file=sys.stderr)
                sys.stdout.flush()


def _teller(settings: Settings, sender: Connection) -> Callable[[int, Callable[[], float]], None]:
    """Make the function that sends how far the training of a grid point is."""
    run, epochs, sent = run_directory(settings), settings.epochs, 0.0

    def tell(epoch: int, loss: Callable[[], float]) -> None:
        nonlocal sent
        if time.monotonic() - sent >= EVERY:
            sent = time.monotonic()
            sender.send((run, {"epoch": epoch, "epochs": epochs, "loss": loss()}))

    return tell

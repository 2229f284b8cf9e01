"""One training job: several grid points, trained one after the other in one process."""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from reversal_curse.config.errors import UserError
from reversal_curse.config.grid import dataset_directory, run_directory
from reversal_curse.config.settings import Settings
from reversal_curse.jobs.progress import TRAINED, JobProgress
from reversal_curse.jobs.watcher import AFTER_A_DEFECT, Watched, say
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.provenance import code_of_training
from reversal_curse.tables.run_files import LOG, Runs
from reversal_curse.training.interruption import Interrupted, Interruption

EVERY = 2.0
"""Seconds between two words on how far a grid point is."""


def train_job(
    points: list[Settings],
    runs: Runs,
    report: Path,
    threads: int,
    checkpoint_seconds: float,
    watched: Watched,
) -> None:
    """Train those of `points` that are not trained yet; write `report` once all are.

    Raises UserError if some failed; the others are kept. Raises Interrupted if a signal or the end
    of the job's time asks to stop; the next call trains what is missing. Exits at an unexpected
    error: whoever watches starts a fresh process for the others.
    """
    by_run = {run_directory(settings): settings for settings in points}
    there = [run for run, settings in by_run.items() if runs.record(run, settings)]
    outcomes = watched.lost | dict.fromkeys(there, TRAINED)
    progress = JobProgress(runs.results / "progress" / report.name, outcomes)
    for settings in points:  # read the source now: it may be edited while the job runs
        code_of_training(settings.family, settings.task)
    with Interruption() as interruption:
        for run, settings in by_run.items():
            if run in outcomes:
                continue
            started = time.monotonic()
            watched.tell(run)
            try:
                with _logged(runs.folder(run) / LOG):
                    _train(settings, runs, threads, checkpoint_seconds, interruption, progress)
                outcomes[run] = TRAINED
            except Interrupted as error:
                done = list(outcomes.values()).count(TRAINED)
                kept = f"{done} of {len(points)} grid points finished; progress is saved"
                progress.tell(ended="stopped")
                raise Interrupted(
                    f"stopped with {kept}: run it again to continue", error.status
                ) from error
            except (UserError, OSError) as error:
                outcomes[run] = f"failed: {UserError(str(error))}"
            except BaseException as error:  # a panic of polars is no Exception
                watched.tell(run, f"failed: {type(error).__name__}")
                sys.exit(AFTER_A_DEFECT)
            watched.tell("")
            progress.tell()
            say(f"{run}: {outcomes[run]}, after {time.monotonic() - started:.1f} s")
    failed = [run for run, outcome in outcomes.items() if outcome != TRAINED]
    if failed:
        progress.tell(ended="failed")
        for run in failed:  # print the end of its log where Snakemake shows it
            log = runs.folder(run) / LOG
            lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
            say("\n".join([f"--- end of {log}", *lines[-20:]]))
        count = f"{len(failed)} of {len(points)} grid points failed"
        raise UserError(f"{count}; the others are kept; run the same command to retry")
    with replacing(report) as partial:
        partial.write_text(json.dumps({"trained": list(outcomes)}, indent=2) + "\n", "utf-8")
    progress.path.unlink(missing_ok=True)


@contextmanager
def _logged(path: Path) -> Generator[None]:
    """Send to a file what this process and its libraries print, and how it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    with open(path, "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    said: object = TRAINED
    try:
        yield
    except (UserError, OSError) as error:
        said = error
        raise
    except BaseException:
        said = traceback.format_exc()
        raise
    finally:
        with suppress(OSError):  # the disk may be full
            print(said, file=sys.stderr)
            sys.stdout.flush()
        for copy, number in zip(kept, (1, 2), strict=True):
            os.dup2(copy, number)
            os.close(copy)


def _train(
    settings: Settings,
    runs: Runs,
    threads: int,
    checkpoint_seconds: float,
    interruption: Interruption,
    progress: JobProgress,
) -> None:
    # Imported here: torch takes seconds, and all may be trained.
    from reversal_curse.training.grid_point import read_dataset, train_grid_point

    run = run_directory(settings)
    path = runs.results / "data" / dataset_directory(settings) / "dataset.parquet"
    told = -EVERY

    def tell(epoch: int, loss: Callable[[], float]) -> None:
        nonlocal told
        if time.monotonic() - told >= EVERY:
            told = time.monotonic()
            progress.tell(run=run, epoch=epoch, epochs=settings.epochs, loss=loss())

    train_grid_point(
        settings,
        read_dataset(path, settings),
        runs.folder(run),
        threads,
        runs.results / "checkpoints",
        checkpoint_seconds,
        interruption,
        tell,
    )

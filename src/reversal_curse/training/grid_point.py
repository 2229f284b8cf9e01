"""Train one grid point: from its settings and dataset to the tables in its run directory."""

import platform
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch

from reversal_curse.config.digest import digest_of
from reversal_curse.config.errors import UserError
from reversal_curse.config.grid import dataset_directory, run_directory
from reversal_curse.config.settings import Settings
from reversal_curse.tables.dataset import Dataset, generate_dataset
from reversal_curse.tables.files import read_table, write_table
from reversal_curse.tables.provenance import code_of_training, made_since
from reversal_curse.tables.record import write_record
from reversal_curse.tables.run_files import RECORD, table_files
from reversal_curse.tables.schemas import TABLES
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.execution import chosen_execution
from reversal_curse.training.gpus import training_device
from reversal_curse.training.interruption import Interruption
from reversal_curse.training.loop import train
from reversal_curse.training.memory import release_memory


def train_grid_point(
    settings: Settings,
    dataset: Dataset,
    output: Path,
    threads: int,
    checkpoint_folder: Path | None = None,
    checkpoint_seconds: float = 600.0,
    interruption: Interruption | None = None,
    tell: Callable[[int, Callable[[], float]], None] | None = None,
) -> None:
    """Train all seeds of a grid point and write its tables and `run.json` into `output`.

    With the same CPU and number of threads the tables depend on the settings alone, byte for byte,
    even if a run goes on from a checkpoint below `checkpoint_folder`. Raises UserError if `output`
    is a file, and Interrupted if `interruption` (or, without one, a signal) asks to stop.
    """
    started, code = time.time(), code_of_training(settings.family, settings.task)
    torch.set_num_threads(threads)
    device = training_device()
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: must be a directory, got a file")
    chosen = chosen_execution(settings, device)
    print(
        f"{run_directory(settings)}\n{len(dataset.seeds)} seeds on {device}; {chosen.precision}: "
        f"{chosen.precision_reason}; {'' if chosen.compiled else 'not '}compiled: "
        f"{chosen.compiled_reason}",
        flush=True,
    )
    checkpoints = None
    if checkpoint_folder:
        folder = checkpoint_folder / digest_of(run_directory(settings))
        key = state_key(settings, dataset, device)
        if any(path.name != key for path in folder.glob("*")):
            print("left a checkpoint out: it is by other code, data or device", flush=True)
        checkpoints = Checkpoints(folder / key, checkpoint_seconds)
    with nullcontext(interruption) if interruption else Interruption() as listening:
        tables = train(settings, dataset, device, checkpoints, listening, tell=tell)
    for name, frame in tables.items():
        write_table(output / f"{name}.parquet", frame, TABLES[name])
    release_memory()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    record = {
        "settings": settings.described(),
        "device": device.type,
        "device_name": gpu or platform.processor() or platform.machine(),
        "threads": threads,
        **asdict(chosen),
        "dataset": dataset.digest,
        "code": code,
        **made_since(started, ["torch", "numpy", "polars"]),
    }
    write_record(output / RECORD, record, [output / name for name in table_files(settings)])
    if checkpoints:
        shutil.rmtree(folder, ignore_errors=True)


def state_key(settings: Settings, dataset: Dataset, device: torch.device) -> str:
    """Name the checkpoints that a run may go on from: by code, data and kind of device."""
    code = code_of_training(settings.family, settings.task)
    return digest_of([code, dataset.digest, device.type])


def read_dataset(path: Path, settings: Settings) -> Dataset:
    """Read a dataset; raises UserError if it was not made with these settings."""
    dataset = Dataset.of(read_table(path, "dataset"))
    if dataset.digest != Dataset.of(generate_dataset(settings)).digest:
        path.touch()  # so that the next command looks at it
        raise UserError(f"{path}: not the dataset of {dataset_directory(settings)}")
    return dataset

"""Train one grid point: from its settings and dataset to the tables in its run directory."""

import hashlib
import json
import platform
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import polars as pl
import torch

from reversal_curse.config.errors import UserError
from reversal_curse.config.grid import dataset_directory, run_directory
from reversal_curse.config.settings import Settings
from reversal_curse.tables.dataset import Dataset, generate_dataset
from reversal_curse.tables.files import write_table
from reversal_curse.tables.provenance import DATA_VERSION, TRAINING_VERSION, write_record
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
) -> None:
    """Train all seeds of a grid point and write its tables and `run.json` into `output`.

    With the same CPU and number of threads the tables depend on the settings alone, byte for byte,
    even if a run goes on from a checkpoint below `checkpoint_folder`. Raises UserError if `output`
    is a file, and Interrupted if `interruption` (or, without one, a signal) asks to stop.
    """
    started = time.time()
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
        folder = checkpoint_folder / run_key(settings, device)
        checkpoints = Checkpoints(folder, checkpoint_seconds)
    with nullcontext(interruption) if interruption else Interruption() as listening:
        tables = train(settings, dataset, device, checkpoints, listening)
    for name, frame in tables.items():
        write_table(output / f"{name}.parquet", frame, TABLES[name])
    release_memory()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    versions = {"data": DATA_VERSION, "training": TRAINING_VERSION, "torch": torch.__version__}
    machine = {"device": device.type, "threads": threads}
    machine["device_name"] = gpu or platform.processor() or platform.machine()
    told = {"settings": settings.described(), **machine, **asdict(chosen)}
    write_record(output, started, versions | {"polars": pl.__version__}, **told)
    if checkpoints:
        checkpoints.clear()


def run_key(settings: Settings, device: torch.device) -> str:
    """Name a run's checkpoints by settings, code and device, as devices draw different numbers."""
    versions = [DATA_VERSION, TRAINING_VERSION, torch.__version__]
    content = [run_directory(settings), *versions, device.type]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def read_dataset(path: Path, settings: Settings) -> Dataset:
    """Read a dataset; raises UserError if it was not made with these settings."""
    dataset = Dataset.read(path)
    first = generate_dataset(settings.model_copy(update={"seeds": 1}))
    same = dataset.table.filter(pl.col("seed") == 0).equals(first)
    if len(dataset.seeds) != settings.seeds or not same:
        raise UserError(f"{path}: not the dataset of {dataset_directory(settings)}")
    return dataset

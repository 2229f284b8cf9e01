"""One training job: from settings and a dataset to the tables of a run directory."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path

import polars as pl
import torch

from reversal_curse import __version__
from reversal_curse.atomic import replacing
from reversal_curse.errors import UserError
from reversal_curse.provenance import commit
from reversal_curse.settings import Settings
from reversal_curse.sweep import dataset_directory, run_directory, settings_hash
from reversal_curse.tables import TABLES, write_table
from reversal_curse.tasks.dataset import Dataset, generate_dataset
from reversal_curse.training.checkpoint import Checkpoints
from reversal_curse.training.device import training_device
from reversal_curse.training.execution import Execution, Machine, execution
from reversal_curse.training.interruption import Interruption
from reversal_curse.training.loop import train
from reversal_curse.training.memory import keep_freed_memory, release_memory
from reversal_curse.versions import DATA_VERSION, TRAINING_VERSION


def run_grid_point(
    settings: Settings,
    dataset_path: Path,
    output: Path,
    threads: int,
    checkpoint_folder: Path | None = None,
    checkpoint_seconds: float = 600.0,
    interruption: Interruption | None = None,
) -> None:
    """Train all seeds of a grid point and write its tables and `run.json` into `output`.

    On a CPU the tables depend on the settings alone, byte for byte, on one machine and
    for one number of threads, also where a run was stopped and taken up again from below
    `checkpoint_folder`. Raises UserError where the dataset does not fit the settings, and
    Interrupted where a signal or the end of the job's time asks to stop; `interruption` is
    who listens, where somebody does already.
    """
    started = time.time()
    keep_freed_memory()
    torch.set_num_threads(threads)
    device = training_device()
    dataset = Dataset.read(dataset_path)
    _check_dataset(dataset, settings, dataset_path)
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is no directory")
    chosen = execution(settings, Machine.of(device))
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
    record = _run_record(settings, device, chosen, threads, started)
    with replacing(output / "run.json") as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if checkpoints:
        checkpoints.clear()


def run_key(settings: Settings, device: torch.device) -> str:
    """Name of a run's checkpoints: of its settings, and of the code that data and training had.

    And of the kind of device, whose random streams are no other's.
    """
    versions = [DATA_VERSION, TRAINING_VERSION, torch.__version__]
    content = [settings.model_dump(), *versions, device.type]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _check_dataset(dataset: Dataset, settings: Settings, path: Path) -> None:
    """Refuse the dataset of other settings: its first seed is drawn again and compared."""
    first = generate_dataset(settings.model_copy(update={"seeds": 1}))
    same = dataset.table.filter(pl.col("seed") == 0).equals(first)
    if len(dataset.seeds) != settings.seeds or not same:
        raise UserError(f"{path}: not the dataset of {dataset_directory(settings)}")


def _run_record(
    settings: Settings, device: torch.device, chosen: Execution, threads: int, started: float
) -> dict:
    """What is known of a run beside its tables."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "settings": settings.model_dump(),
        "settings_hash": settings_hash(settings),
        "commit": commit(),
        "versions": {
            "reversal_curse": __version__,
            "data": DATA_VERSION,
            "training": TRAINING_VERSION,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "polars": pl.__version__,
        },
        "device": device.type,
        "device_name": name or platform.machine(),
        "precision": chosen.precision,
        "precision_reason": chosen.precision_reason,
        "compiled": chosen.compiled,
        "compiled_reason": chosen.compiled_reason,
        "threads": threads,
        "started": datetime.fromtimestamp(started, timezone.utc).isoformat(timespec="seconds"),
        "wall_seconds": round(time.time() - started, 3),
    }

"""Small grid points: their settings, their data, their training."""

from pathlib import Path

import polars as pl
import torch

from reversal_curse.config.settings import DEFAULTS, Settings, settle
from reversal_curse.tables.dataset import Dataset, generate_dataset
from reversal_curse.tables.provenance import code_of_training
from reversal_curse.tables.record import write_record
from reversal_curse.tables.run_files import RECORD, table_files
from reversal_curse.training.loop import train

CPU = torch.device("cpu")
SIZE = {"layers": 2, "heads": 2, "embed_dim": 16, "vocab_size": 20, "seeds": 3}
PACE = {"epochs": 20, "eval_every": 5, "learning_rate": 0.003}


def small_settings(**overrides) -> Settings:
    """Make the settings of a small model; keywords override them."""
    return settle(DEFAULTS | SIZE | PACE | overrides)


def write_run_record(folder: Path, settings: Settings, **more) -> None:
    """Write the `run.json` of tables that are there, as if the code of today had trained them."""
    record = {"settings": settings.described(), "commit": None, "wall_seconds": 2.5}
    record |= {"device": "cpu", "device_name": "x", "precision": "float32", "threads": 1}
    record |= {"started": "2026-01-02T03:04:05+00:00", "versions": {"torch": "2"}}
    record["code"] = dict(code_of_training(settings.family, settings.task))
    write_record(folder / RECORD, record | more, [folder / name for name in table_files(settings)])


def dataset_of(settings: Settings, seeds: list[int] | None = None) -> Dataset:
    """Generate the dataset of some settings; optionally of some seeds only."""
    frame = generate_dataset(settings)
    return Dataset.of(frame if seeds is None else frame.filter(frame["seed"].is_in(seeds)))


def trained(settings: Settings, *more, seeds: list[int] | None = None) -> dict[str, pl.DataFrame]:
    """Train on the CPU; return the tables. `more`: checkpoints and an interruption."""
    return train(settings, dataset_of(settings, seeds), CPU, *more)


def same_tables(some: dict[str, pl.DataFrame], others: dict[str, pl.DataFrame]) -> bool:
    """Compare the tables of two trainings, to the last bit."""
    return all(some[name].equals(table) for name, table in others.items())

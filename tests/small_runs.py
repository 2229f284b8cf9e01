"""Small grid points: their settings, their data, their training."""

import polars as pl
import torch

from reversal_curse.config.settings import DEFAULTS, Settings, settle
from reversal_curse.tables.dataset import Dataset, generate_dataset
from reversal_curse.training.loop import train

CPU = torch.device("cpu")
SIZE = {"layers": 2, "heads": 2, "embed_dim": 16, "vocab_size": 20, "seeds": 3}
PACE = {"epochs": 20, "eval_every": 5, "learning_rate": 0.003}


def small_settings(**overrides) -> Settings:
    """Make the settings of a small model; keywords override them."""
    return settle(DEFAULTS | SIZE | PACE | overrides)


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

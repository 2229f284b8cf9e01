"""The sentences of a task: rows of a table, and arrays stacked over seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from reversal_curse.config.digest import digest_of
from reversal_curse.config.settings import Settings
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tasks import TASKS


def generate_dataset(settings: Settings) -> pl.DataFrame:
    """Draw the `dataset` table of all seeds."""
    generate = TASKS[settings.task].generate
    rows = [
        {"seed": seed, **vars(sentence)}
        for seed in range(settings.seeds)
        for sentence in generate(settings, seed)
    ]
    return TABLES["dataset"].conform(pl.DataFrame(rows))


@dataclass(frozen=True)
class Dataset:
    """The sentences of all seeds, in the order of the table."""

    table: pl.DataFrame
    seeds: list[int]

    @classmethod
    def of(cls, table: pl.DataFrame) -> Dataset:
        """Wrap a `dataset` table."""
        return cls(table, table["seed"].unique(maintain_order=True).to_list())

    @cached_property
    def digest(self) -> str:
        """Identify the sentences of all seeds: 32 hex digits."""
        return digest_of(self.table.to_dict(as_series=False))

    @property
    def length(self) -> int:
        """The number of tokens in a sentence."""
        return len(self.table["tokens"][0])

    def of_seeds(self, seeds: list[int]) -> Dataset:
        """Return the sentences of some of the seeds."""
        return Dataset(self.table.filter(pl.col("seed").is_in(seeds)), seeds)

    def tokens(self, *conditions: pl.Expr) -> np.ndarray:
        """Return token ids of the sentences that meet `conditions`, shape (S, N, T), int64."""
        flat = self.table.filter(*conditions)["tokens"].explode().to_numpy().astype(np.int64)
        return flat.reshape(len(self.seeds), -1, self.length)

    def split(self, name: str) -> np.ndarray:
        """Return token ids of one split (`train` or `unseen`), shape (S, N, T), int64."""
        return self.tokens(pl.col("split") == name)

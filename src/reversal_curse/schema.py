"""What a Parquet table is: its columns with types, units and meaning."""

from __future__ import annotations

import json
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Column:
    """One column: its type, unit and meaning."""

    name: str
    dtype: pl.DataType
    unit: str
    description: str


@dataclass(frozen=True)
class Table:
    """The schema of one table."""

    name: str
    row: str
    """What one row stands for."""
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pl.Schema:
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def empty(self) -> pl.DataFrame:
        """This table without rows."""
        return pl.DataFrame(schema=self.schema)

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with exactly this table's columns, in order and typed."""
        return frame.select(pl.col(name).cast(dtype) for name, dtype in self.schema.items())

    def metadata(self) -> dict[str, str]:
        """File metadata: unit and description of every column, as JSON under `columns`."""
        columns = {
            column.name: {"unit": column.unit, "description": column.description}
            for column in self.columns
        }
        return {"table": self.name, "columns": json.dumps(columns)}


SEED = Column("seed", pl.Int32, "", "replica, counted from 0")
EPOCH = Column("epoch", pl.Int32, "epochs", "passes over the training set so far; 0 is untrained")
PAIR = Column("pair", pl.Int32, "", "index of the pair (A, B) within its seed's dataset")
PAIR_SPLIT = Column(
    "pair_split", pl.String, "", "`train`: all directions shown; `validation`: one held out"
)
DIRECTION = Column(
    "direction",
    pl.String,
    "",
    "`forward` (A -> B), `backward` (B <- A); chain: `a_to_b`, `b_to_c`, `a_to_c`",
)
SENTENCE_SPLIT = Column("split", pl.String, "", "`train`: in the training set; `unseen`: held out")

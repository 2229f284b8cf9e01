"""What a Parquet table is: its columns with types, units and meaning."""

import json
from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Column:
    """One column: its type, unit and meaning."""

    name: str
    dtype: Any
    """A type of polars."""
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


def columns(text: str) -> tuple[Column, ...]:
    """The columns that lines `name | type | unit | meaning` declare; types are those of polars."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return tuple(Column(name, _dtype(kind), unit, about) for name, kind, unit, about in rows)


def _dtype(kind: str) -> Any:
    return pl.List(_dtype(kind[5:-1])) if kind.startswith("List(") else getattr(pl, kind)

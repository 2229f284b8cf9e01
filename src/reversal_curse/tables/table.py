"""Schemas of Parquet tables: columns with their type, unit and meaning."""

import json
from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Column:
    """One column: its type, unit and meaning."""

    name: str
    dtype: Any
    """A polars type."""
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
        """Return this table without rows."""
        return pl.DataFrame(schema=self.schema)

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` with exactly this table's columns, in order and typed."""
        return frame.select(pl.col(name).cast(dtype) for name, dtype in self.schema.items())

    def metadata(self) -> dict[str, str]:
        """Return file metadata: unit and description of every column, as JSON under `columns`."""
        columns = {
            column.name: {"unit": column.unit, "description": column.description}
            for column in self.columns
        }
        return {"table": self.name, "columns": json.dumps(columns)}


def read_columns(text: str) -> dict[str, Column]:
    """Read lines `name | type | unit | meaning`; types are polars types."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return {name: Column(name, _dtype(kind), unit, about) for name, kind, unit, about in rows}


def read_tables(shared: dict[str, Column], text: str) -> dict[str, Table]:
    """Read tables, one per paragraph: `name: what a row is`, then lines of columns.

    A line without types names columns that are `shared`.
    """
    tables = {}
    for paragraph in text.strip().split("\n\n"):
        head, *lines = paragraph.splitlines()
        name, row = head.split(": ", 1)
        columns: list[Column] = []
        for line in lines:
            if "|" in line:
                columns += read_columns(line).values()
            else:
                columns += [shared[column] for column in line.strip().split(", ")]
        tables[name] = Table(name, row, tuple(columns))
    return tables


def _dtype(kind: str) -> Any:
    return pl.List(_dtype(kind[5:-1])) if kind.startswith("List(") else getattr(pl, kind)

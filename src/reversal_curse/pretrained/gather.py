"""The tables of several probed models as one."""

from pathlib import Path

import polars as pl

from reversal_curse.registry import PRETRAINED_TABLES
from reversal_curse.tables import read_table, write_table


def gather(models: list[Path], table: str, output: Path) -> int:
    """Write one table of several models, in the order given; return how many rows it has."""
    schema = PRETRAINED_TABLES[table]
    frame = pl.concat([read_table(path / f"{table}.parquet", schema.name) for path in models])
    write_table(output, frame, schema)
    return frame.height

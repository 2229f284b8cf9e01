"""Gather the runs of grid points into one table, lazily."""

from __future__ import annotations

from pathlib import Path

from reversal_curse.config import Config
from reversal_curse.errors import UserError
from reversal_curse.sweep import runs_with_table
from reversal_curse.tables import TABLES, aggregated, scan_runs, write_table


def aggregate(config: Config, table: str, runs: Path, output: Path) -> int:
    """Write `table` over all grid points of `config`; returns the number of runs.

    Raises UserError where the config has no run with such a table, or where one is missing.
    """
    paths = [runs / directory / f"{table}.parquet" for directory in runs_with_table(config, table)]
    if not paths:
        names = ", ".join(sweep.name for sweep in config.sweeps)
        raise UserError(f"no grid point of {names} writes the table {table}")
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: missing; train it first")
    write_table(output, scan_runs(paths, table), aggregated(TABLES[table]))
    return len(paths)

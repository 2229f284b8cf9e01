"""Gather runs into tables: every evaluation, and every grid point as one row."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from reversal_curse.config.digest import digest_of
from reversal_curse.config.file import Config
from reversal_curse.config.grid import CARD, all_points, read_sweeps
from reversal_curse.config.settings import NAMES
from reversal_curse.tables.files import (
    add_settings,
    read_runs,
    read_table,
    settings_frame,
    write_table,
)
from reversal_curse.tables.run_files import Runs
from reversal_curse.tables.schemas import MEASURED, PRETRAINED_TABLES, TABLES, gathered
from reversal_curse.tables.summaries import final_by_seed

AT_ONCE = 64  # runs in memory


def aggregate(config: Config, runs: Runs, metrics: Path, points: Path) -> int:
    """Write the tables `metrics` and `points` of all grid points; returns the number of points.

    `metrics` has a column for each setting that the config sets, and for those of a run's path.
    Raises UserError if a run is missing, or was trained with other settings or code.
    """
    grid = all_points(read_sweeps(config))
    every = list(grid)
    records = [{"run": run, **_provenance(runs.trained(run, grid[run]))} for run in every]
    shown = [name for name in NAMES if name in {*CARD, *config.settings_given()}]
    table = gathered(TABLES["metrics"], shown)
    last = []

    def parts() -> Iterator[pl.DataFrame]:
        for start in range(0, len(every), AT_ONCE):
            some = {run: grid[run] for run in every[start : start + AT_ONCE]}
            frame = read_runs(some, "metrics", runs, {})
            last.append(_last_values(frame))
            yield table.conform(frame)

    write_table(metrics, parts(), table)
    found = pl.concat(last)
    for columns in (settings_frame(grid, {}), pl.DataFrame(records)):
        found = add_settings(found, columns)
    write_table(points, TABLES["points"].conform(found), TABLES["points"])
    return len(grid)


def _provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of `points` that say how and by what a run was trained."""
    same = {name: record[name] for name in ("device", "device_name", "commit")}
    own = {"seconds": record["wall_seconds"], "trained_in": record["precision"]}
    return same | own | {"torch": record["versions"]["torch"], "code": digest_of(record["code"])}


def _last_values(metrics: pl.DataFrame) -> pl.DataFrame:
    """Summarise each grid point in a row: mean and spread over seeds after the last epoch."""
    values = [f"{split}_{one.name}" for split in ("train", "unseen") for one in MEASURED]
    by_run = final_by_seed(metrics).group_by("run", maintain_order=True)
    return by_run.agg(
        pl.col("epoch").first().alias("last_epoch"),
        pl.col("chance_vocab", "chance_class").first(),
        pl.col(values).mean(),
        pl.col(values).std().name.suffix("_sd"),
    )


def gather_pretrained(models: list[Path], table: str, output: Path) -> int:
    """Write one table of several probed models, in the order given; returns the number of rows."""
    schema = PRETRAINED_TABLES[table]
    frame = pl.concat([read_table(path / f"{table}.parquet", schema.name) for path in models])
    write_table(output, frame, schema)
    return frame.height

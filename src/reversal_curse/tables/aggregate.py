"""Gather runs into tables: every evaluation, and every grid point as one row."""

from pathlib import Path

import polars as pl

from reversal_curse.config.file import Config
from reversal_curse.config.grid import CARD, all_points, read_sweeps
from reversal_curse.config.settings import NAMES
from reversal_curse.tables import files
from reversal_curse.tables.schemas import MEASURED, PRETRAINED_TABLES, TABLES, gathered
from reversal_curse.tables.summaries import final_by_seed


def aggregate(config: Config, results: Path, metrics: Path, points: Path) -> int:
    """Write the tables `metrics` and `points` of all grid points; returns the number of points.

    `metrics` has a column for each setting that the config sets, and for those of a run's path.
    Raises UserError if a run is missing, or was trained with other settings or code.
    """
    grid = all_points(read_sweeps(config))
    runs = results / "runs"
    records = []
    for run, settings in grid.items():
        record = files.check_trained(runs / run, settings)
        versions = {f"{name}_version": record["versions"][name] for name in ("data", "training")}
        versions |= {"commit": record["commit"], "torch": record["versions"]["torch"]}
        where = {name: record[name] for name in ("device", "device_name")}
        own = {"seconds": record["wall_seconds"], "trained_in": record["precision"]}
        records.append({"run": run, **own, **where, **versions})
    known = files.settings_frame(grid, {})
    shown = [name for name in NAMES if name in {*CARD, *config.settings_given()}]
    frame = files.scan_runs(known, "metrics", runs, shown)
    files.write_table(metrics, frame, gathered(TABLES["metrics"], shown))
    last = _last_values(files.scan_runs(known, "metrics", runs, ["epochs"]))
    for columns in (known, pl.DataFrame(records)):
        last = files.add_settings(last, columns)
    files.write_table(points, TABLES["points"].conform(last), TABLES["points"])
    return len(grid)


def _last_values(metrics: pl.LazyFrame) -> pl.DataFrame:
    """Summarise each grid point in a row: mean and spread over seeds after the last epoch."""
    last = metrics.filter(pl.col("epoch") == pl.col("epochs")).collect(engine="streaming")
    by_seed = final_by_seed(last)
    values = [f"{split}_{one.name}" for split in ("train", "unseen") for one in MEASURED]
    return by_seed.group_by("run", maintain_order=True).agg(
        pl.col("epoch").first().alias("last_epoch"),
        pl.col("chance_vocab", "chance_class").first(),
        pl.col(values).mean(),
        pl.col(values).std().name.suffix("_sd"),
    )


def gather_pretrained(models: list[Path], table: str, output: Path) -> int:
    """Write one table of several probed models, in the order given; returns the number of rows."""
    schema = PRETRAINED_TABLES[table]
    frame = pl.concat([files.read_table(path / f"{table}.parquet", schema.name) for path in models])
    files.write_table(output, frame, schema)
    return frame.height

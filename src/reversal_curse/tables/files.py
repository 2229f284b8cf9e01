"""Read and write the Parquet tables, of one run or of many."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from reversal_curse.config.errors import UserError, first_line
from reversal_curse.config.settings import NAMES, Settings
from reversal_curse.families import FAMILIES
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.run_files import read_record
from reversal_curse.tables.schemas import TABLES, gathered, setting_column
from reversal_curse.tables.table import Table


def write_table(path: Path, frame: pl.DataFrame | pl.LazyFrame, table: Table) -> None:
    """Write Parquet atomically, streaming a LazyFrame; raises UserError if writing fails."""
    try:
        with replacing(path) as partial:
            frame.lazy().sink_parquet(partial, compression="zstd", metadata=table.metadata())
    except (OSError, pl.exceptions.ComputeError, pl.exceptions.PanicException) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{path}: cannot be written: {reason}") from None


def read_table(path: Path, name: str) -> pl.DataFrame:
    """Read a table of a known schema; raises UserError if the file is anything else."""
    # Use Arrow's reader: that of polars panics on some damaged files. Import it here: the import
    # takes longer than everything else in building the DAG.
    import pyarrow.parquet

    schema = TABLES[name].schema
    damaged = (
        *(OSError, ValueError, KeyError, pyarrow.ArrowException),
        *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
    )
    try:
        # Its read_table would import pandas, which takes longer than reading most tables.
        with pyarrow.parquet.ParquetFile(path) as file:
            content = file.read()
        content = content.select([name for name in schema if name in content.schema.names])
        content.validate(full=True)
        frame = pl.DataFrame(pl.from_arrow(content))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except damaged as error:
        problem = "not a readable Parquet file; delete it and it will be rebuilt"
        raise UserError(f"{path}: {problem}: {first_line(error)}") from None
    for column, dtype in schema.items():
        found = frame.schema.get(column)
        if found != dtype:
            raise UserError(f"{path}: column {column} must be {dtype}, got {found or 'no column'}")
    return frame.select(schema.names())


def settings_frame(points: Mapping[str, Settings], labels: Mapping[str, str]) -> pl.DataFrame:
    """Tabulate grid points: `run`, `label` and every setting, null if it means nothing."""
    schema = {name: setting_column(name).dtype for name in NAMES}
    rows = [
        {"run": run, "label": labels.get(run, ""), **settings.described()}
        for run, settings in points.items()
    ]
    return pl.DataFrame(rows, schema={"run": pl.String, "label": pl.String, **schema})


def read_runs(
    points: Mapping[str, Settings], name: str, runs: Path, labels: Mapping[str, str]
) -> pl.DataFrame:
    """Read one table of many runs, with the columns of `settings_frame`.

    Runs whose family does not write the table are left out. Raises UserError if a run is missing,
    was trained with other settings or code, or is damaged.
    """
    frames = [TABLES[name].empty().with_columns(run=pl.lit(""))]
    for run, settings in points.items():
        if name in FAMILIES[settings.family].tables:
            check_trained(runs / run, settings)
            frame = read_table(runs / run / f"{name}.parquet", name)
            frames.append(frame.with_columns(run=pl.lit(run)))
    return add_settings(pl.concat(frames), settings_frame(points, labels))


def add_settings(table: pl.DataFrame, settings: pl.DataFrame) -> pl.DataFrame:
    """Add the settings of grid points to a table that has `run`; its own columns win."""
    own = [name for name in settings.columns if name in table.columns and name != "run"]
    return table.join(settings.drop(own), on="run", how="left", maintain_order="left")


def check_trained(directory: Path, settings: Settings) -> dict[str, Any]:
    """Return the record of a finished run of these settings; raises UserError if none exists."""
    record = read_record(directory, settings)
    if record is None:
        text = "no finished run of these settings by the current code; train it first"
        raise UserError(f"{directory}: {text}")
    return record


def scan_runs(points: pl.DataFrame, name: str, runs: Path, settings: Sequence[str]) -> pl.LazyFrame:
    """Scan one table of the runs in a `settings_frame`, with some of their settings."""
    # Joined by the path of the file, so that no settings have to be parsed from partitions.
    known = points.with_columns(path=str(runs) + "/" + pl.col("run") + f"/{name}.parquet")
    table = TABLES[name]
    frame = pl.scan_parquet(
        known["path"].to_list(),
        schema=table.schema,
        hive_partitioning=False,
        include_file_paths="path",
    )
    joined = frame.join(known.lazy(), on="path", how="left", maintain_order="left")
    return joined.select(gathered(table, settings).schema.names())

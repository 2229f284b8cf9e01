"""Read and write the Parquet tables, of one run or of many."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from reversal_curse.config.errors import UserError, first_line
from reversal_curse.config.settings import NAMES, Settings
from reversal_curse.families import FAMILIES
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.run_files import Runs
from reversal_curse.tables.schemas import TABLES, setting_column
from reversal_curse.tables.table import Table

DAMAGED = "is damaged; the next command makes it again"


def write_table(path: Path, frames: pl.DataFrame | Iterable[pl.DataFrame], table: Table) -> None:
    """Write Parquet atomically, with a checksum in every page; each of several frames in turn.

    Raises UserError if writing fails.
    """
    import pyarrow.parquet

    schema = table.empty().to_arrow().schema.with_metadata(table.metadata())
    try:
        with (
            replacing(path) as partial,
            pyarrow.parquet.ParquetWriter(
                partial,
                schema,
                compression="zstd",
                write_page_checksum=True,
                use_dictionary=[n for n, dtype in table.schema.items() if not dtype.is_float()],
            ) as writer,
        ):
            for frame in [frames] if isinstance(frames, pl.DataFrame) else frames:
                writer.write_table(frame.to_arrow().cast(schema))
    except (OSError, pyarrow.ArrowException) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{path}: cannot be written: {reason}") from None


def read_table(path: Path, name: str, digest: str | None = None) -> pl.DataFrame:
    """Read a table of a known schema; raises UserError if the file is anything else.

    With a `digest`, it is the SHA-256 that the file must have.
    """
    schema = TABLES[name].schema
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    if digest is None:
        frame = _read_unknown(path, content, schema)
    elif hashlib.sha256(content).hexdigest() == digest:
        frame = pl.read_parquet(content)
    else:
        path.touch()  # so that the next command looks at it
        raise UserError(f"{path}: {DAMAGED}")
    for column, dtype in schema.items():
        found = frame.schema.get(column)
        if found != dtype:
            raise UserError(f"{path}: column {column} must be {dtype}, got {found or 'no column'}")
    return frame.select(schema.names())


def _read_unknown(path: Path, content: bytes, schema: pl.Schema) -> pl.DataFrame:
    """Read Parquet that may be damaged: Arrow checks pages, where polars panics on some files."""
    # Imported here: the import takes longer than everything else in building the DAG.
    import pyarrow.parquet

    damaged = (OSError, ValueError, KeyError, pyarrow.ArrowException, pl.exceptions.PolarsError)
    try:
        # Its read_table would import pandas, which takes longer than reading most tables.
        source = pyarrow.BufferReader(content)
        with pyarrow.parquet.ParquetFile(source, page_checksum_verification=True) as file:
            table = file.read()
        table = table.select([name for name in schema if name in table.schema.names])
        table = table.replace_schema_metadata()  # polars panics if it is damaged
        table.validate(full=True)
        return pl.DataFrame(pl.from_arrow(table))
    except (*damaged, pl.exceptions.PanicException) as error:
        raise UserError(f"{path}: {DAMAGED}: {first_line(error)}") from None


def settings_frame(points: Mapping[str, Settings], labels: Mapping[str, str]) -> pl.DataFrame:
    """Tabulate grid points: `run`, `label` and every setting, null if it means nothing."""
    schema = {name: setting_column(name).dtype for name in NAMES}
    rows = [
        {"run": run, "label": labels.get(run, ""), **settings.described()}
        for run, settings in points.items()
    ]
    return pl.DataFrame(rows, schema={"run": pl.String, "label": pl.String, **schema})


def read_runs(
    points: Mapping[str, Settings], name: str, runs: Runs, labels: Mapping[str, str]
) -> pl.DataFrame:
    """Read one table of many runs, with the columns of `settings_frame`.

    Runs whose family does not write the table are left out. Raises UserError if a run is missing,
    was trained with other settings or code, or is damaged.
    """
    frames = [TABLES[name].empty().with_columns(run=pl.lit(""))]
    for run, settings in points.items():
        if name in FAMILIES[settings.family].tables:
            file = f"{name}.parquet"
            digest = runs.trained(run, settings)["files"][file]
            frame = read_table(runs.folder(run) / file, name, digest)
            frames.append(frame.with_columns(run=pl.lit(run)))
    return add_settings(pl.concat(frames), settings_frame(points, labels))


def add_settings(table: pl.DataFrame, settings: pl.DataFrame) -> pl.DataFrame:
    """Add the settings of grid points to a table that has `run`; its own columns win."""
    own = [name for name in settings.columns if name in table.columns and name != "run"]
    return table.join(settings.drop(own), on="run", how="left", maintain_order="left")

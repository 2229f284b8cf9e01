"""The Parquet tables, and the only code that reads or writes them.

A probe's table is described where the probe is registered. `results/README.md` documents
all schemas; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from reversal_curse.atomic import replacing
from reversal_curse.errors import UserError, first_line
from reversal_curse.registry import PRETRAINED_TABLES, PROBES
from reversal_curse.schema import (
    DIRECTION,
    EPOCH,
    PAIR,
    PAIR_SPLIT,
    SEED,
    SENTENCE_SPLIT,
    Column,
    Table,
)
from reversal_curse.settings import AXES, Settings

_AXIS_UNITS = {"embed_dim": "features", "vocab_size": "tokens", "entity_length": "tokens"}


def _axis_column(axis: str) -> Column:
    field = Settings.model_fields[axis]
    dtype = pl.Int32 if isinstance(field.default, int) else pl.String
    return Column(axis, dtype, _AXIS_UNITS.get(axis, ""), field.description)


AXIS_COLUMNS = (
    *map(_axis_column, AXES),
    Column("settings", pl.String, "", "hash of the settings that no axis spells (see `run.json`)"),
)

DATASET_TABLE = Table(
    "dataset",
    "one sentence of one seed",
    (
        SEED,
        PAIR,
        PAIR_SPLIT,
        DIRECTION,
        SENTENCE_SPLIT,
        Column("tokens", pl.List(pl.Int32), "", "token ids; relation tokens come first: 0, 1, ..."),
    ),
)
METRICS_TABLE = Table(
    "metrics",
    "one evaluation of one seed on one split",
    (
        SEED,
        EPOCH,
        Column("split", pl.String, "", "`train` or `unseen` (the direction never trained on)"),
        Column("nll_token", pl.Float32, "nats", "mean -ln p of the first token of the answer"),
        Column("nll_word", pl.Float32, "nats", "mean -ln p of the whole answer"),
        Column(
            "accuracy", pl.Float32, "fraction", "answers whose every token is the most probable"
        ),
        Column("chance_vocab", pl.Float32, "nats", "uniform over the vocabulary, per token"),
        Column("chance_class", pl.Float32, "nats", "uniform over the answer's class, per token"),
    ),
)
CLAIMS_TABLE = Table(
    "claims",
    "one claim",
    (
        Column("id", pl.String, "", "name of the claim"),
        Column("paper", pl.String, "", "P1 (Zhu et al. 2024) or P2 (Jeon et al. 2026), and where"),
        Column("statement", pl.String, "", "what the paper says, in our words"),
        Column("grid", pl.String, "", "sweep, and the axes that vary in it; empty: not rendered"),
        Column("figure", pl.String, "", "the figure that shows it"),
        Column("measures", pl.String, "", "what the effect is, with its unit"),
        Column("threshold", pl.Float64, "as `effect`", "the claim holds from this effect on"),
        Column("effect", pl.Float64, "see `measures`", "mean over seeds; null: not tested"),
        Column("ci_low", pl.Float64, "as `effect`", "lower end of the 95 % bootstrap interval"),
        Column("ci_high", pl.Float64, "as `effect`", "upper end of the 95 % bootstrap interval"),
        Column("median", pl.Float64, "as `effect`", "median over seeds"),
        Column("n_seeds", pl.Int32, "", "seeds behind the interval: those that can be judged"),
        Column("n_reaching", pl.Int32, "", "of these, seeds whose own effect reaches `threshold`"),
        Column(
            "verdict",
            pl.String,
            "",
            "`supported`, `contradicted`, `inconclusive` or `not tested at this scale`",
        ),
    ),
)
_PROBE_TABLES = tuple(probe.table for probe in PROBES.values())
_OTHERS = (*PRETRAINED_TABLES.values(), CLAIMS_TABLE)
TABLES = {t.name: t for t in (DATASET_TABLE, METRICS_TABLE, *_PROBE_TABLES, *_OTHERS)}
RUN_TABLES = ("metrics", *PROBES)


def aggregated(table: Table) -> Table:
    """The schema of a run table gathered over grid points: the axes come first."""
    return Table(table.name, table.row, (*AXIS_COLUMNS, *table.columns))


def write_table(path: Path, frame: pl.DataFrame | pl.LazyFrame, table: Table) -> None:
    """Write Parquet under a temporary name, then rename: a reader never sees half a table.

    A LazyFrame is streamed to disk without being held in memory.
    """
    try:
        with replacing(path) as partial:
            frame.lazy().sink_parquet(partial, compression="zstd", metadata=table.metadata())
    except (OSError, pl.exceptions.ComputeError, pl.exceptions.PanicException) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{path}: cannot be written: {reason}") from None


def read_table(path: Path, name: str) -> pl.DataFrame:
    """Read a table of a known schema; raises UserError where the file is something else."""
    return _read(path, TABLES[name].schema)


def read_aggregated(path: Path, name: str) -> pl.DataFrame:
    """Read an aggregated table; raises UserError where the file is something else."""
    return _read(path, aggregated(TABLES[name]).schema)


def _read(path: Path, schema: pl.Schema) -> pl.DataFrame:
    # Arrow's reader, since that of polars panics on some damaged files; here, since importing it
    # takes longer than everything else that builds the DAG.
    import pyarrow.parquet

    damaged = (
        *(OSError, ValueError, KeyError, pyarrow.ArrowException),
        *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
    )
    try:
        # Its function read_table would import pandas, which takes longer than most tables.
        with pyarrow.parquet.ParquetFile(path) as file:
            content = file.read()
        content = content.select([name for name in schema if name in content.schema.names])
        content.validate(full=True)
        frame = pl.from_arrow(content)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except damaged as error:
        raise UserError(
            f"{path}: no readable Parquet table, delete it to have it made again: "
            f"{first_line(error)}"
        ) from None
    for column, dtype in schema.items():
        found = frame.schema.get(column)
        if found != dtype:
            raise UserError(f"{path}: column {column} is {found or 'missing'}, it must be {dtype}")
    return frame.select(schema.names())


def scan_runs(paths: Iterable[Path], name: str) -> pl.LazyFrame:
    """One table of many runs, with the axes from their paths as columns; nothing is read yet."""
    table = aggregated(TABLES[name])
    hive = pl.Schema({column.name: column.dtype for column in AXIS_COLUMNS})
    frame = pl.scan_parquet(
        list(paths), hive_partitioning=True, hive_schema=hive, schema=TABLES[name].schema
    )
    return frame.select(table.schema.names())

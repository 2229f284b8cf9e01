"""The Parquet tables: their schemas, and the only code that reads or writes them.

`results/README.md` documents the same schemas; a test holds the two together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from reversal_curse.atomic import replacing
from reversal_curse.errors import UserError
from reversal_curse.settings import AXES, Settings


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


_SEED = Column("seed", pl.Int32, "", "replica, counted from 0")
_EPOCH = Column("epoch", pl.Int32, "epochs", "passes over the training set so far; 0 is untrained")
_PAIR = Column("pair", pl.Int32, "", "index of the pair (A, B) within its seed's dataset")

_AXIS_UNITS = {"embed_dim": "features", "vocab_size": "tokens", "entity_length": "tokens"}


def _axis_column(axis: str) -> Column:
    field = Settings.model_fields[axis]
    dtype = pl.Int32 if isinstance(field.default, int) else pl.String
    return Column(axis, dtype, _AXIS_UNITS.get(axis, ""), field.description)


AXIS_COLUMNS = (
    *map(_axis_column, AXES),
    Column("settings", pl.String, "", "hash of the settings that no axis spells (see `run.json`)"),
)

_TABLES = (
    Table(
        "dataset",
        "one sentence of one seed",
        (
            _SEED,
            _PAIR,
            Column(
                "pair_split",
                pl.String,
                "",
                "`train`: all directions shown; `validation`: one held out",
            ),
            Column(
                "direction",
                pl.String,
                "",
                "`forward` (A -> B), `backward` (B <- A); chain: `a_to_b`, `b_to_c`, `a_to_c`",
            ),
            Column("split", pl.String, "", "`train`: in the training set; `unseen`: held out"),
            Column(
                "tokens", pl.List(pl.Int32), "", "token ids; relation tokens come first: 0, 1, ..."
            ),
        ),
    ),
    Table(
        "metrics",
        "one evaluation of one seed on one split",
        (
            _SEED,
            _EPOCH,
            Column("split", pl.String, "", "`train` or `unseen` (the direction never trained on)"),
            Column("nll_token", pl.Float32, "nats", "mean -ln p of the first token of the answer"),
            Column("nll_word", pl.Float32, "nats", "mean -ln p of the whole answer"),
            Column(
                "accuracy", pl.Float32, "fraction", "answers whose every token is the most probable"
            ),
            Column("chance_vocab", pl.Float32, "nats", "uniform over the vocabulary, per token"),
            Column(
                "chance_class", pl.Float32, "nats", "uniform over the answer's class, per token"
            ),
        ),
    ),
    Table(
        "logits",
        "the logit of one candidate after one query, at the end of training",
        (
            _SEED,
            Column(
                "group",
                pl.String,
                "",
                "`train_forward`, `train_backward`, `seen`, `unseen`; chain: `train_a_to_b`, ...",
            ),
            Column("readout", pl.String, "", "query: `entity` alone, or `entity_relation`"),
            Column("query", pl.Int32, "", "position of the query within its group"),
            Column(
                "candidate",
                pl.Int32,
                "",
                "position of the candidate; right where it equals `query`",
            ),
            Column(
                "logit",
                pl.Float32,
                "nats",
                "unnormalised log-probability of the first answer token",
            ),
        ),
    ),
    Table(
        "embeddings",
        "one token's embedding, at the end of training",
        (
            _SEED,
            Column("token", pl.Int32, "", "token id"),
            Column("role", pl.String, "", "`relation`, `A`, `B`, `C`, or `unused`: none of these"),
            Column("position", pl.Int32, "", "place within its role, in the order of the dataset"),
            Column("embedding", pl.List(pl.Float32), "", "`embed_dim` numbers"),
        ),
    ),
    Table(
        "separation",
        "one held-out pair at one step: each of the first 100, then every 5 % further",
        (
            _SEED,
            _EPOCH,
            _PAIR,
            Column("nll_forward", pl.Float32, "nats", "-ln p of the direction that is trained"),
            Column("nll_reverse", pl.Float32, "nats", "-ln p of the direction that is held out"),
        ),
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
        Column("n_seeds", pl.Int32, "", "seeds behind the interval"),
        Column(
            "verdict",
            pl.String,
            "",
            "`supported`, `contradicted`, `inconclusive` or `not tested at this scale`",
        ),
    ),
)
TABLES = {table.name: table for table in (*_TABLES, CLAIMS_TABLE)}
RUN_TABLES = tuple(table.name for table in _TABLES if table.name != "dataset")


def aggregated(table: Table) -> Table:
    """The schema of a run table gathered over grid points: the axes come first."""
    return Table(table.name, table.row, (*AXIS_COLUMNS, *table.columns))


def write_table(path: Path, frame: pl.DataFrame | pl.LazyFrame, table: Table) -> None:
    """Write Parquet under a temporary name, then rename: a reader never sees half a table.

    A LazyFrame is streamed to disk without being held in memory.
    """
    with replacing(path) as partial:
        frame.lazy().sink_parquet(partial, compression="zstd", metadata=table.metadata())


def read_table(path: Path, name: str) -> pl.DataFrame:
    """Read a table of a known schema; raises UserError where the file is something else."""
    return _read(path, TABLES[name].schema)


def read_aggregated(path: Path, name: str) -> pl.DataFrame:
    """Read an aggregated table; raises UserError where the file is something else."""
    return _read(path, aggregated(TABLES[name]).schema)


def _read(path: Path, schema: pl.Schema) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: no readable Parquet table: {reason}") from None
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

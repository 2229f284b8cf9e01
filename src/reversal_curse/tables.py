"""The Parquet tables, and the only code that reads or writes them.

`results/README.md` documents all schemas; a test holds the two together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from reversal_curse.atomic import replacing
from reversal_curse.config.settings import ABOUT, NAMES, Settings
from reversal_curse.errors import UserError, first_line
from reversal_curse.registry import PRETRAINED_TABLES, PROBES, run_tables
from reversal_curse.runs import read_record
from reversal_curse.schema import (
    DIRECTION,
    EPOCH,
    PAIR,
    PAIR_SPLIT,
    SEED,
    SENTENCE_SPLIT,
    Column,
    Table,
    columns,
)

_DTYPES = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64}


def setting_column(name: str) -> Column:
    """The column of a setting: null where it means nothing to a grid point."""
    declared = Settings.model_fields[name]
    dtype = _DTYPES.get(declared.annotation, pl.String)
    return Column(name, dtype, ABOUT[name].unit, declared.description)


RUN, _TOKENS = columns("""
    run | String | | the grid point: its directory below `results/runs`
    tokens | List(Int32) | | token ids; relation tokens come first: 0, 1, ...
""")
_METRICS = columns("""
    split | String | | `train` or `unseen` (the direction never trained on)
    nll_token | Float32 | nats | mean -ln p of the first token of the answer
    nll_word | Float32 | nats | mean -ln p of the whole answer
    accuracy | Float32 | fraction | answers whose every token is the most probable
    chance_vocab | Float32 | nats | uniform over the vocabulary, per token
    chance_class | Float32 | nats | uniform over the answer's class, per token
""")
_SUMMARY = columns("""
    chance_vocab | Float64 | nats | uniform over the vocabulary, per token
    chance_class | Float64 | nats | uniform over the answer's class, per token
    last_epoch | Int32 | epochs | after which all this was measured
    seconds | Float64 | seconds | wall time of its training
    device | String | | `cpu` or `cuda`
    device_name | String | | as the system calls it
    trained_in | String | | `float32`, `bfloat16` (products) or `float64`
    torch | String | | version of PyTorch
    training_version | Int32 | | of our training code
    data_version | Int32 | | of the code that makes sentences
    commit | String | | of the code; null outside version control
""")
_LAST = tuple(
    Column(
        f"{split}_{m.name}{suffix}", pl.Float64, m.unit, f"{split} split, {what}: {m.description}"
    )
    for split in ("train", "unseen")
    for m in _METRICS[1:4]
    for suffix, what in (("", "mean over seeds"), ("_sd", "standard deviation over seeds"))
)
_CLAIMS = columns("""
    id | String | | name of the claim
    paper | String | | which paper says it (see the ledger), and where
    statement | String | | what the paper says, in our words
    grid | String | | sweeps that it was judged on, and what varies in them
    figure | String | | a figure of the config that shows it
    measures | String | | what the effect is, with its unit
    threshold | Float64 | as `effect` | the claim holds from this effect on
    effect | Float64 | see `measures` | mean over seeds; null: not tested
    ci_low | Float64 | as `effect` | lower end of the 95 % bootstrap interval
    ci_high | Float64 | as `effect` | upper end of the 95 % bootstrap interval
    median | Float64 | as `effect` | median over seeds
    n_seeds | Int32 | | seeds behind the interval: those that can be judged
    n_reaching | Int32 | | of these, seeds whose own effect reaches `threshold`
    verdict | String | | `supported`, `contradicted`, `inconclusive` or `not tested`
    reason | String | | why it was not tested; else null
""")
_SENTENCE = (SEED, PAIR, PAIR_SPLIT, DIRECTION, SENTENCE_SPLIT, _TOKENS)
DATASET_TABLE = Table("dataset", "one sentence of one seed", _SENTENCE)
METRICS_TABLE = Table(
    "metrics", "one evaluation of one seed on one split", (SEED, EPOCH, *_METRICS)
)
POINTS_TABLE = Table(
    "points",
    "one grid point after its last epoch",
    (*map(setting_column, NAMES), RUN, *_LAST, *_SUMMARY),
)
CLAIMS_TABLE = Table("claims", "one claim", _CLAIMS)
_PROBE_TABLES = tuple(probe.table for probe in PROBES.values())
_OTHERS = (*PRETRAINED_TABLES.values(), CLAIMS_TABLE)
TABLES = {t.name: t for t in (DATASET_TABLE, METRICS_TABLE, POINTS_TABLE, *_PROBE_TABLES, *_OTHERS)}


def gathered(table: Table, settings: Sequence[str] = NAMES) -> Table:
    """The schema of a run table over grid points: some settings and `run` come first."""
    return Table(table.name, table.row, (*map(setting_column, settings), RUN, *table.columns))


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


def settings_frame(points: Mapping[str, Settings], labels: Mapping[str, str]) -> pl.DataFrame:
    """One row per grid point: `run`, `label` and every setting, null where it means nothing."""
    schema = {name: setting_column(name).dtype for name in NAMES}
    rows = [
        {"run": run, "label": labels.get(run, ""), **settings.described()}
        for run, settings in points.items()
    ]
    return pl.DataFrame(rows, schema={"run": pl.String, "label": pl.String, **schema})


def read_runs(
    points: Mapping[str, Settings], name: str, runs: Path, labels: Mapping[str, str]
) -> pl.DataFrame:
    """One table of many runs, with `run`, `label` and every setting; see `settings_frame`.

    Runs whose family does not write the table are left out. Raises UserError where a run is
    missing, was trained with other settings or code, or is damaged.
    """
    frames = [TABLES[name].empty().with_columns(run=pl.lit(""))]
    for run, settings in points.items():
        if name in run_tables(settings.family):
            check_trained(runs / run, settings)
            frame = read_table(runs / run / f"{name}.parquet", name)
            frames.append(frame.with_columns(run=pl.lit(run)))
    return add_settings(pl.concat(frames), settings_frame(points, labels))


def add_settings(table: pl.DataFrame, settings: pl.DataFrame) -> pl.DataFrame:
    """A table that has the column `run`, with the settings of its grid points.

    One that the table has as a column of its own, as `sentence_nll` the learning rate, stays so.
    """
    own = [name for name in settings.columns if name in table.columns and name != "run"]
    return table.join(settings.drop(own), on="run", how="left", maintain_order="left")


def check_trained(directory: Path, settings: Settings) -> dict[str, Any]:
    """The record of a finished run; raises UserError where there is none of these settings."""
    record = read_record(directory, settings)
    if record is None:
        raise UserError(
            f"{directory}: no finished run of these settings by today's code; train it first"
        )
    return record


def scan_runs(points: pl.DataFrame, name: str, runs: Path, settings: Sequence[str]) -> pl.LazyFrame:
    """One table of the runs in a `settings_frame`, with some `settings`; nothing is read yet."""
    # By the path of a file, so that nobody has to read it from partitions.
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

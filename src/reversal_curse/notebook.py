"""Train and draw without Snakemake: from a notebook, or from a shell (`reversal-curse train`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from reversal_curse.config.errors import UserError, suggestion
from reversal_curse.config.file import read_settings
from reversal_curse.config.grid import (
    changes_nothing,
    describe,
    run_directory,
    undrawable,
    untrainable,
)
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.settings import DEFAULTS, NAMES, Settings, meaningful, settle
from reversal_curse.families import FAMILIES
from reversal_curse.tables.files import add_settings, read_table, settings_frame
from reversal_curse.tables.record import read_record
from reversal_curse.tables.run_files import RECORD
from reversal_curse.tables.schemas import TABLES, setting_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Run:
    """A trained grid point; its tables, with all settings as columns, are attributes too."""

    settings: Settings
    tables: dict[str, pl.DataFrame]

    def __getattr__(self, name: str) -> pl.DataFrame:
        tables = self.__dict__.get("tables", {})
        if name in tables:
            return tables[name]
        raise AttributeError(f"this run has no {name}; it has {', '.join(tables)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.tables]

    def __repr__(self) -> str:
        return f"Run({run_directory(self.settings)})"


def choose(**given: Any) -> Settings:
    """Check the settings of a grid point; the others keep their built-in defaults.

    If `heads` is not given, it is the largest divisor of its default that divides `embed_dim`.
    Raises UserError, which names every mistake; a setting that would change nothing is one.
    """
    values = read_settings(given)
    heads = math.gcd(DEFAULTS["heads"], values.get("embed_dim", DEFAULTS["embed_dim"]))
    settings = settle({**DEFAULTS, "heads": heads, **values})
    for name, value in values.items():
        if name not in meaningful(vars(settings)):
            raise UserError(f"{name}: {changes_nothing(name, [value], [settings])}")
    if problem := untrainable(settings):
        raise UserError(problem)
    return settings


def train(threads: int = 1, **settings: Any) -> Run:
    """Train all seeds of a grid point on this machine.

    `rc.train(family="gpt", layers=1, heads=1, embed_dim=20, epochs=50, seeds=2)`. Settings that are
    not given keep their built-in defaults, those of the first paper: a large model, 3,000 epochs.
    """
    import torch

    from reversal_curse.tables.dataset import Dataset, generate_dataset
    from reversal_curse.training.gpus import training_device
    from reversal_curse.training.loop import train as train_seeds

    chosen = choose(**settings)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        dataset = Dataset.of(generate_dataset(chosen))
        tables = train_seeds(chosen, dataset, training_device())
    finally:
        torch.set_num_threads(before)
    return _run(chosen, tables)


def load(directory: Path | str) -> Run:
    """Load a run of the workflow or of `reversal-curse train`; raises UserError if none exists."""
    directory = Path(directory)
    try:
        record = read_record(directory / RECORD) or {}
        given = {name: value for name, value in record["settings"].items() if value is not None}
        settings = settle({**DEFAULTS, **read_settings(given)})
    except (KeyError, AttributeError):
        raise UserError(f"{directory}: holds no run ({RECORD})") from None
    names, digests = FAMILIES[settings.family].tables, record["files"]
    tables = {n: read_table(directory / (f := f"{n}.parquet"), n, digests[f]) for n in names}
    return _run(settings, tables)


def _run(settings: Settings, tables: dict[str, pl.DataFrame]) -> Run:
    run, first = run_directory(settings), (*NAMES, "run")
    known = settings_frame({run: settings}, {}).drop("label")
    joined = {n: add_settings(f.with_columns(run=pl.lit(run)), known) for n, f in tables.items()}
    return Run(settings, {n: f.select(*first, pl.exclude(first)) for n, f in joined.items()})


def draw(plot: str, runs: Run | Sequence[Run] | pl.DataFrame) -> Figure:
    """Draw a plot of runs or of a gathered table; raises UserError if it cannot be drawn."""
    from reversal_curse.figures.render import draw as draw_tables

    if plot not in PLOTS:
        close = suggestion(plot, PLOTS)
        raise UserError(f"unknown plot {plot}{close}; allowed: {', '.join(PLOTS)}")
    if isinstance(runs, pl.DataFrame):
        name, *others = PLOTS[plot].tables
        if others:
            raise UserError(f"plot {plot}: needs runs, as it reads {', '.join((name, *others))}")
        return draw_tables(plot, {name: _completed(plot, runs)})
    runs = [runs] if isinstance(runs, Run) else list(runs)
    points = {run_directory(run.settings): run.settings for run in runs}
    if not points:
        raise UserError(f"plot {plot}: needs at least one run")
    if problem := undrawable(plot, list(points.values())):
        raise UserError(f"plot {plot}: the data {problem}")
    parts = {n: [run.tables[n] for run in runs if n in run.tables] for n in PLOTS[plot].tables}
    return draw_tables(plot, {name: _labelled(pl.concat(part)) for name, part in parts.items()})


def _labelled(table: pl.DataFrame) -> pl.DataFrame:
    """Add the column `label`, which tells the grid points of a table apart."""
    points = table.select("run", *NAMES).unique("run", maintain_order=True)
    words = describe({row["run"]: row for row in points.to_dicts()})
    return table.with_columns(label=pl.col("run").replace_strict(words))


def _completed(plot: str, table: pl.DataFrame) -> pl.DataFrame:
    """Add labels to a table, and nulls for the settings that it lacks."""
    if PLOTS[plot].pretrained:
        return table
    needed = {"run", *TABLES[PLOTS[plot].tables[0]].schema}
    if missing := sorted(needed - set(table.columns)):
        raise UserError(f"plot {plot}: the table has no column {', '.join(missing)}")
    absent = map(setting_column, [name for name in NAMES if name not in table.columns])
    return _labelled(table.with_columns(pl.lit(None, c.dtype).alias(c.name) for c in absent))

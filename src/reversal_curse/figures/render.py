"""Draw a figure from its tables and write its files."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import polars as pl
from matplotlib.figure import Figure

from reversal_curse.atomic import replacing
from reversal_curse.errors import UserError
from reversal_curse.figures.style import RC
from reversal_curse.registry import ALL_FIGURES, PRETRAINED_FIGURES, PRETRAINED_TABLES
from reversal_curse.tables import read_aggregated, read_table

# Without dates, the same numbers give the same file.
_METADATA = {".pdf": {"CreationDate": None, "ModDate": None}, ".png": {"Software": None}}


def draw(name: str, tables: dict[str, pl.DataFrame]) -> Figure:
    """Draw a registered figure in the house style; raises UserError where a table is empty."""
    for table, frame in tables.items():
        if frame.is_empty() and not ALL_FIGURES[name].may_be_empty:
            raise UserError(f"figure {name}: its table {table} has no rows")
    module = ALL_FIGURES[name].load()
    with matplotlib.rc_context(RC):
        return module.draw(tables)


def render(
    name: str, paths: list[Path], outputs: list[Path], variants: dict[str, str] | None = None
) -> None:
    """Read the tables that the figure lists, in that order, and write PDF or PNG files.

    `variants` says how the figure calls the variants of its sweep (see `variant_labels`).
    Raises UserError where a table is missing or wrong, or a suffix unknown.
    """
    needed = ALL_FIGURES[name].tables
    if len(paths) != len(needed):
        raise UserError(f"figure {name} reads {', '.join(needed)}; {len(paths)} tables were given")
    for output in outputs:
        if output.suffix not in _METADATA:
            raise UserError(f"{output}: unknown suffix; allowed: {', '.join(_METADATA)}")
    read = _read_pretrained if name in PRETRAINED_FIGURES else _read_sweep
    tables = {
        table: read(path, table, variants or {}) for table, path in zip(needed, paths, strict=True)
    }
    figure = draw(name, tables)
    for output in outputs:
        with replacing(output) as partial, matplotlib.rc_context(RC):
            figure.savefig(partial, metadata=_METADATA[output.suffix])


def _read_sweep(path: Path, table: str, variants: dict[str, str]) -> pl.DataFrame:
    return read_aggregated(path, table).with_columns(pl.col("variant").replace(variants))


def _read_pretrained(path: Path, table: str, variants: dict[str, str]) -> pl.DataFrame:
    return read_table(path, PRETRAINED_TABLES[table].name)

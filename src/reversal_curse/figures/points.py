"""Tell grid points apart: which axes vary in a table, and in which order values come."""

from __future__ import annotations

import re

import polars as pl

from reversal_curse.analysis import POINT
from reversal_curse.figures.style import axis_label
from reversal_curse.registry import FAMILIES, MASKINGS, TASKS
from reversal_curse.settings import AXES, POS_ENCODINGS

_ORDER = {
    "task": tuple(TASKS),
    "family": tuple(FAMILIES),
    "pos_encoding": POS_ENCODINGS,
    "masking": tuple(MASKINGS),
    "variant": ("default",),
}


def varying_axes(table: pl.DataFrame) -> list[str]:
    """The axes (and `settings`, where only it differs) that take several values in `table`."""
    counts = table.select(pl.col(POINT).n_unique()).row(0, named=True)
    axes = [axis for axis in AXES if counts[axis] > 1]
    return axes or [axis for axis in ("settings",) if counts[axis] > 1]


def split_points(
    table: pl.DataFrame, axes: list[str] | None = None
) -> list[tuple[str, pl.DataFrame]]:
    """`table` in parts, one per value of `axes` (the varying ones by default), labelled.

    Numbers come in their order, names in the order the field lists them.
    """
    axes = varying_axes(table) if axes is None else axes
    if not axes:
        return [("", table)]
    parts = table.partition_by(axes, as_dict=True)
    keys = sorted(
        parts, key=lambda values: [_rank(a, v) for a, v in zip(axes, values, strict=True)]
    )
    return [(", ".join(filter(None, map(axis_label, axes, key))), parts[key]) for key in keys]


def values_of(table: pl.DataFrame, axis: str) -> list:
    """The values of one axis in a table, in the order in which figures show them."""
    return [part[axis][0] for _, part in split_points(table, [axis])]


def _rank(axis: str, value: object) -> tuple:
    """Numbers in a name count as numbers: `weight decay 0.9` comes before `weight decay 10`."""
    order = _ORDER.get(axis, ())
    if value in order:
        return (order.index(value),)
    if not isinstance(value, str):
        return (len(order), value)
    parts = re.split(r"(\d+(?:\.\d+)?)", value)
    return (len(order), *(float(p) if i % 2 else p for i, p in enumerate(parts)))


def without_diverged(table: pl.DataFrame, column: str) -> tuple[pl.DataFrame, int]:
    """One grid point's table without the seeds whose `column` is ever not finite; their number."""
    bad = table.filter(~pl.col(column).is_finite())["seed"].unique()
    return table.filter(~pl.col("seed").is_in(bad.implode())), len(bad)


def seed_phrase(table: pl.DataFrame) -> str:
    """How many replicas the grid points of a table have: `10 seeds`, `1 seed`, `2 to 10 seeds`."""
    counts = table.group_by(POINT).agg(pl.col("seed").n_unique())["seed"]
    low, high = counts.min(), counts.max()
    if low != high:
        return f"{low} to {high} seeds"
    return "1 seed" if high == 1 else f"{high} seeds"


def mean_and_spread(values: pl.Series | list[float], digits: int = 1) -> str:
    """`mean ± standard deviation`, or the mean alone where there is one value."""
    series = pl.Series(values, dtype=pl.Float64)
    mean = round(series.mean(), digits) + 0.0  # no negative zero
    text = f"{mean:.{digits}f}".replace("-", "−")
    return text if len(series) == 1 else f"{text} ± {series.std():.{digits}f}"

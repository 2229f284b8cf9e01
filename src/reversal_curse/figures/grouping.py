"""Tell grid points apart: which settings vary in a table, and in which order values come."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from reversal_curse.config.grid import varying
from reversal_curse.config.settings import NAMES, choices, in_words
from reversal_curse.figures import style


def varying_settings(table: pl.DataFrame) -> list[str]:
    """List the settings that tell the grid points of a table apart."""
    return varying(table.select(NAMES).unique().to_dicts())


def split_points(
    table: pl.DataFrame, settings: Sequence[str] | None = None
) -> list[tuple[str, pl.DataFrame]]:
    """Split a table by grid point, or by values of `settings`, in their order; label the parts."""
    names = varying_settings(table) if settings is None else settings
    keys = ["run"] if settings is None else settings
    parts = table.partition_by(keys) if keys else [table]
    parts.sort(key=lambda part: [rank(name, part[name][0]) for name in names])
    if settings is None:
        return [(part["label"][0], part) for part in parts]
    words = ([in_words(n, part[n][0]) for n in names if n in NAMES] for part in parts)
    return [(", ".join(filter(None, own)), part) for own, part in zip(words, parts, strict=True)]


def values_of(table: pl.DataFrame, setting: str) -> list:
    """List the values of a setting in a table, without None, in the order of plots."""
    return sorted(table[setting].unique().drop_nulls(), key=lambda value: rank(setting, value))


def rank(setting: str, value: Any) -> tuple:
    """Return a sort key: None, then the choices of a setting in their order, then the others."""
    if value is None:
        return (-1,)
    listed = choices(setting) if setting in NAMES else ()
    return (listed.index(value),) if value in listed else (len(listed), value)


def without_diverged(table: pl.DataFrame, column: str) -> tuple[pl.DataFrame, int]:
    """Drop the seeds of a grid point whose `column` is not always finite, and count them."""
    bad = table.filter(~pl.col(column).is_finite())["seed"].unique()
    return table.filter(~pl.col("seed").is_in(bad.implode())), len(bad)


def seed_phrase(table: pl.DataFrame) -> str:
    """Say how many seeds the grid points of a table have: `10 seeds`, `1 seed`, `2 to 10 seeds`."""
    counts = table.group_by("run").agg(pl.col("seed").n_unique())["seed"]
    low, high = counts.min(), counts.max()
    number = f"{high}" if low == high else f"{low} to {high}"
    return f"{number} seed" if high == 1 else f"{number} seeds"


def maps_phrase(table: pl.DataFrame) -> str:
    """Say which seeds maps and the numbers below them show."""
    numbers = f"mean ± standard deviation over {seed_phrase(table)}"
    return f"maps: seed {table['seed'].min()}; numbers: {numbers}"


def models_of(table: pl.DataFrame) -> list[tuple[str, str, pl.DataFrame]]:
    """List name, kind and rows of every pretrained model, by kind, then as in the config."""
    parts = table.partition_by("model")
    found = [(part["model"][0], part["kind"][0], part) for part in parts]
    return sorted(found, key=lambda model: list(style.KIND_COLOURS).index(model[1]))


def mean_and_spread(values: pl.Series | list[float], digits: int = 1) -> str:
    """Write `mean ± standard deviation`, or the mean alone if there is one value."""
    series = pl.Series("x", values, dtype=pl.Float64).to_frame()
    mean, sd = series.select(pl.col("x").mean(), sd=pl.col("x").std()).row(0)
    mean = round(mean, digits) + 0.0  # no negative zero
    text = f"{mean:.{digits}f}".replace("-", "−")
    return text if len(values) == 1 else f"{text} ± {sd:.{digits}f}"

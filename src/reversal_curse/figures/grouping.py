"""Tell grid points apart: which settings vary in a table, and in which order values come."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from reversal_curse.config.grid import varying
from reversal_curse.config.settings import NAMES, choices, in_words
from reversal_curse.figures.style import KIND_COLOURS


def varying_settings(table: pl.DataFrame) -> list[str]:
    """The settings that tell the grid points of a table apart."""
    return varying(table.select(NAMES).unique().to_dicts())


def split_points(
    table: pl.DataFrame, settings: Sequence[str] | None = None
) -> list[tuple[str, pl.DataFrame]]:
    """`table` in parts, labelled: one per grid point, or per value of the `settings` given.

    Numbers come in their order, names in the order the setting lists them.
    """
    if settings is None:
        parts = table.partition_by("run", maintain_order=True)
        names = varying_settings(table)
        parts = sorted(parts, key=lambda part: [rank(n, part[n][0]) for n in names])
        return [(part["label"][0], part) for part in parts]
    if not settings:
        return [("", table)]
    by_value = table.partition_by(settings, as_dict=True)
    keys = sorted(
        by_value, key=lambda key: [rank(n, v) for n, v in zip(settings, key, strict=True)]
    )
    return [(_label(settings, key), by_value[key]) for key in keys]


def _label(settings: Sequence[str], values: Sequence[Any]) -> str:
    """Values in words; of a column that is no setting, the value itself."""
    both = zip(settings, values, strict=True)
    return ", ".join(filter(None, (in_words(n, v) if n in NAMES else str(v) for n, v in both)))


def values_of(table: pl.DataFrame, setting: str) -> list:
    """The values of a setting in a table, None left out, in the order in which plots show them."""
    values = table[setting].unique().drop_nulls().to_list()
    return sorted(values, key=lambda value: rank(setting, value))


def rank(setting: str, value: Any) -> tuple:
    """Sorts values: None, then the choices of a setting in their order, then the others."""
    if value is None:
        return (-1,)
    listed = choices(setting) if setting in NAMES else ()
    return (listed.index(value),) if value in listed else (len(listed), value)


def without_diverged(table: pl.DataFrame, column: str) -> tuple[pl.DataFrame, int]:
    """One grid point's table without the seeds whose `column` is ever not finite; their number."""
    bad = table.filter(~pl.col(column).is_finite())["seed"].unique()
    return table.filter(~pl.col("seed").is_in(bad.implode())), len(bad)


def seed_phrase(table: pl.DataFrame) -> str:
    """How many replicas the grid points of a table have: `10 seeds`, `1 seed`, `2 to 10 seeds`."""
    counts = table.group_by("run").agg(pl.col("seed").n_unique())["seed"]
    low, high = counts.min(), counts.max()
    if low != high:
        return f"{low} to {high} seeds"
    return "1 seed" if high == 1 else f"{high} seeds"


def first_seed(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the first seed, which maps show."""
    return table.filter(pl.col("seed") == pl.col("seed").min())


def maps_phrase(table: pl.DataFrame) -> str:
    """What maps and the numbers below them are of."""
    numbers = f"mean ± standard deviation over {seed_phrase(table)}"
    return f"maps: seed {table['seed'].min()}; numbers: {numbers}"


def models_of(table: pl.DataFrame) -> list[tuple[str, str, pl.DataFrame]]:
    """Name, kind and rows of every pretrained model: by kind, then as the config lists them."""
    parts = table.partition_by("model", maintain_order=True)
    found = [(part["model"][0], part["kind"][0], part) for part in parts]
    return sorted(found, key=lambda model: list(KIND_COLOURS).index(model[1]))


def mean_and_spread(values: pl.Series | list[float], digits: int = 1) -> str:
    """`mean ± standard deviation`, or the mean alone where there is one value."""
    series = pl.Series("x", values, dtype=pl.Float64).to_frame()
    mean, sd = series.select(pl.col("x").mean(), sd=pl.col("x").std()).row(0)
    mean = round(mean, digits) + 0.0  # no negative zero
    text = f"{mean:.{digits}f}".replace("-", "−")
    return text if len(values) == 1 else f"{text} ± {sd:.{digits}f}"

"""Marks that plots share: dots of seeds, mean and band over epochs, chance levels."""

import math
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from reversal_curse.figures.style import DASHES, REFERENCE

# Groups of parameters, in this order; others come last.
GROUPS = ("all", "attention", "values", "fused", "mlp", "embeddings", "head", "norms", "other")


def spread(count: int, half: float) -> np.ndarray:
    """Places of so many marks around 0, at most `half` from it."""
    return np.linspace(-half, half, count) if count > 1 else np.zeros(1)


def draw_dots(ax: Axes, place: float, values: pl.Series, colour: str, marker: str = "o") -> None:
    """One faint dot per seed around `place`, and a bar at their mean. NaN is left out."""
    finite = values.filter(values.is_finite()).to_numpy()
    if not len(finite):
        return
    ax.plot([place - 0.085, place + 0.085], [finite.mean()] * 2, color=colour, lw=2)
    edge: dict[str, Any] = {"mec": "white", "mew": 0.4}  # so that dots on the bar are seen
    ax.plot(
        place + spread(len(finite), 0.06), finite, marker, color=colour, ms=3.6, alpha=0.6, **edge
    )


def draw_mean_and_band(
    ax: Axes, table: pl.DataFrame, column: str, opacity: float = 0.2, **line: Any
) -> None:
    """A column against the epoch: its mean over seeds, in a band of one standard deviation."""
    moments = {"mean": pl.col(column).mean(), "sd": pl.col(column).std().fill_null(0.0)}
    summary = table.group_by("epoch").agg(**moments).sort("epoch")
    epoch, mean, sd = (part.to_numpy() for part in summary)
    (drawn,) = ax.plot(epoch, mean, **line)
    ax.fill_between(epoch, mean - sd, mean + sd, color=drawn.get_color(), alpha=opacity, lw=0)


def draw_chance(ax: Axes, table: pl.DataFrame) -> None:
    """Both chance levels as lines, with labels at the right of the panel, where no data are."""
    for name, style in (("chance_vocab", (0, (5, 2))), ("chance_class", (0, (1, 1.5)))):
        level = table[name][0]
        ax.axhline(level, color=REFERENCE, linewidth=0.8, linestyle=style, zorder=1)
        ax.annotate(
            f"ln {math.exp(level):.0f}",
            (1, level),
            (2, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=6,
            color=REFERENCE,
        )


def draw_groups(
    ax: Axes, drawn: list[tuple[pl.DataFrame, str, str]], half: float, **cross: Any
) -> None:
    """Cosine of gradients by group of parameters: dots of seeds, and crosses for the control.

    `drawn` lists a table, a colour and a marker for each of what stands beside each other.
    """
    found = dict.fromkeys(group for table, *_ in drawn for group in table["group"])
    groups = sorted(found, key=lambda g: GROUPS.index(g) if g in GROUPS else len(GROUPS))
    means = pl.col("cosine", "cosine_control").mean()
    for place, group in enumerate(groups):
        for (table, colour, marker), offset in zip(drawn, spread(len(drawn), half), strict=True):
            of_group = table.filter(pl.col("group") == group)
            by_seed = of_group.group_by("seed").agg(means).sort("seed")
            draw_dots(ax, place + offset, by_seed["cosine"], colour, marker)
            control = by_seed["cosine_control"].drop_nulls().to_numpy()
            if len(control):
                ax.plot(place + offset, control.mean(), "x", color=REFERENCE, **cross)
    ax.axhline(0, color=REFERENCE, lw=0.6)
    ax.set_xticks(range(len(groups)), groups, rotation=30, ha="right")


def frame_change(ax: Axes, line: Any, unit: str, zorder: float) -> None:
    """Name the axes of a predicted and an actual change, and draw where they are equal."""
    ax.plot(line, line, color=REFERENCE, lw=0.7, ls=DASHES, zorder=zorder)
    ax.axhline(0, color=REFERENCE, lw=0.4)
    ax.axvline(0, color=REFERENCE, lw=0.4)
    ax.set(xlabel=f"predicted change ({unit})", ylabel=f"actual change ({unit})")
    ax.set_title("reverse loss, forward step")

"""Marks that plots share: dots of seeds, mean and band, chance levels, panels of gradients."""

import math
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from reversal_curse.figures import style

# Groups of parameters, in this order; others come last.
GROUPS = ("all", "attention", "values", "fused", "mlp", "embeddings", "head", "norms", "other")


def spread(count: int, half: float) -> np.ndarray:
    """Return `count` evenly spaced places from -`half` to `half`."""
    return np.linspace(-half, half, count) if count > 1 else np.zeros(1)


def draw_dots(
    ax: Axes, place: float, values: pl.Series, colour: Any, marker: str = "o", lying: bool = False
) -> None:
    """Draw one faint dot per seed around `place`, and a bar at their mean; NaN is left out.

    `lying`: values are along the x axis.
    """
    finite = values.filter(values.is_finite()).to_numpy()
    if not len(finite):
        return
    turn = slice(None, None, -1 if lying else 1)
    bar = [place - 0.085, place + 0.085], [finite.mean()] * 2
    ax.plot(*bar[turn], color=colour, lw=2)
    dots = place + spread(len(finite), 0.06), finite
    edge: dict[str, Any] = {"mec": "white", "mew": 0.4}  # so that dots on the bar are seen
    ax.plot(*dots[turn], marker, color=colour, ms=3.6, alpha=0.6, **edge)


def draw_mean_and_band(
    ax: Axes,
    table: pl.DataFrame,
    y: str,
    x: str = "epoch",
    opacity: float = 0.2,
    limits: tuple[float, float] = (-math.inf, math.inf),
    **line: Any,
) -> None:
    """Draw means over the seeds, epoch by epoch, in a band of one standard deviation of `y`, cut at
    its limits."""
    moments = {"x": pl.col(x).mean(), "y": pl.col(y).mean(), "sd": pl.col(y).std().fill_null(0)}
    by_epoch = table.group_by("epoch").agg(**moments).sort("epoch")
    at, mean, sd = (by_epoch[name].to_numpy() for name in moments)
    (drawn,) = ax.plot(at, mean, **line)
    band = np.clip([mean - sd, mean + sd], *limits)
    ax.fill_between(at, *band, color=drawn.get_color(), alpha=opacity, lw=0)


def draw_chance(ax: Axes, metrics: pl.DataFrame, tokens: int = 1) -> None:
    """Draw both chance levels of a token, and that of a word of `tokens` among all words, and label
    them to the right of the panel."""
    levels = [("chance_class", 1), *(("chance_vocab", count) for count in sorted({1, tokens}))]
    for column, count in levels:
        level, (_, line) = metrics[column][0], style.CHANCES[column]
        ax.axhline(count * level, color=style.REFERENCE, lw=0.8, ls=line, zorder=1)
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data")}
        place |= {"xytext": (2, 0), "textcoords": "offset points"}
        place["va"] = "center" if column == "chance_class" else "bottom"  # they may be close
        text = f"{count if count > 1 else ''} ln {math.exp(level):.0f}".strip()
        place |= {"fontsize": style.points(6), "color": style.REFERENCE}
        ax.annotate(text, (1, count * level), **place)


def draw_groups(
    ax: Axes, drawn: list[tuple[pl.DataFrame, str, str]], half: float, **cross: Any
) -> None:
    """Draw the cosines of all `drawn` by group of parameters, and their controls as crosses."""
    found = dict.fromkeys(group for table, *_ in drawn for group in table["group"])
    groups = sorted(found, key=lambda g: GROUPS.index(g) if g in GROUPS else len(GROUPS))
    means = pl.col("cosine", "cosine_control").mean()
    for place, group in enumerate(groups):
        offsets = spread(len(drawn), half)
        for (table, colour, marker), offset in zip(drawn, offsets, strict=True):
            by_seed = table.filter(group=group).group_by("seed").agg(means).sort("seed")
            draw_dots(ax, place + offset, by_seed["cosine"], colour, marker)
            control = by_seed["cosine_control"].drop_nulls().to_numpy()
            if len(control):
                ax.plot(place + offset, control.mean(), "x", color=style.REFERENCE, **cross)
    ax.axhline(0, color=style.REFERENCE, lw=0.6)
    ax.set_xticks(range(len(groups)), groups, rotation=30, ha="right")


def frame_change(ax: Axes, line: Any, unit: str, zorder: float) -> None:
    """Name the axes of a predicted and an actual change, and draw where they are equal."""
    ax.plot(line, line, color=style.REFERENCE, lw=0.7, ls=style.DASHES, zorder=zorder)
    ax.axhline(0, color=style.REFERENCE, lw=0.4)
    ax.axvline(0, color=style.REFERENCE, lw=0.4)
    ax.set(xlabel=f"predicted change ({unit})", ylabel=f"actual change ({unit})")
    ax.set_title("reverse loss, forward step")

"""Reverse queries by family and positional encoding: Jeon et al. 2026."""

from __future__ import annotations

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reversal_curse.analysis import final_values
from reversal_curse.figures.curves import draw_chance
from reversal_curse.figures.dots import draw_dots
from reversal_curse.figures.points import seed_phrase, split_points
from reversal_curse.figures.style import (
    FAMILY_COLOURS,
    FAMILY_NAMES,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    axis_label,
    footnote,
    label_panels,
)

SPLIT_MARKERS = {"train": "^", "unseen": "o"}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Left: loss after the last epoch. Right: accuracy. A column per positional encoding."""
    last = final_values(tables["metrics"])
    families = [family for family in FAMILY_COLOURS if family in set(last["family"])]
    figure = Figure(figsize=(3.4 * PANEL_WIDTH, 1.35 * PANEL_HEIGHT + 0.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, value, name in (
        (axes[0], "nll_token", "negative log-likelihood (nats)"),
        (axes[1], "accuracy", "accuracy"),
    ):
        _draw_panel(ax, last, value, families)
        ax.set_ylabel(name)
    draw_chance(axes[0], last)
    label_panels(list(axes))
    handles = [
        Line2D(
            [],
            [],
            color=FAMILY_COLOURS[family],
            marker=SPLIT_MARKERS[split],
            ls="",
            label=f"{FAMILY_NAMES.get(family, family)}, {name}",
        )
        for family in families
        for split, name in (("train", "as trained, A is ?"), ("unseen", "reverse query, B is ?"))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    footnote(
        figure,
        f"dots: {seed_phrase(last)}; bars: mean; "
        "dashed: guess among all tokens; dotted: guess among the entities of the class",
    )
    return figure


def _draw_panel(ax: Axes, last: pl.DataFrame, value: str, families: list[str]) -> None:
    columns = split_points(last, ["pos_encoding"])
    offsets = {
        (family, split): 0.19 * (2 * i + j - len(families) + 0.5)
        for i, family in enumerate(families)
        for j, split in enumerate(SPLIT_MARKERS)
    }
    for place, (_, column) in enumerate(columns):
        for (family, split), offset in offsets.items():
            cell = column.filter(pl.col("family") == family, pl.col("split") == split)
            colour, marker = FAMILY_COLOURS[family], SPLIT_MARKERS[split]
            draw_dots(ax, place + offset, cell[value], colour, marker)
    labels = [axis_label("pos_encoding", part["pos_encoding"][0]) for _, part in columns]
    ax.set_xticks(range(len(columns)), [label.replace(" ", "\n") for label in labels])
    ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])  # dots at 0 are seen whole

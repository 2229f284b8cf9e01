"""Which tokens are ever masked decides what is known in reverse: Jeon et al. 2026."""

from __future__ import annotations

import math

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reversal_curse.analysis import final_values
from reversal_curse.figures.curves import draw_chance
from reversal_curse.figures.dots import draw_dots
from reversal_curse.figures.points import seed_phrase, split_points
from reversal_curse.figures.style import (
    COLOURS,
    MAX_COLUMNS,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    footnote,
    label_panels,
)
from reversal_curse.registry import MASKINGS

MARKERS = {"train": "^", "unseen": "o"}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """One panel per positional encoding and distance, one column per masking arm."""
    last = final_values(tables["metrics"])
    axes_of_panels = [axis for axis in ("pos_encoding", "distance") if last[axis].n_unique() > 1]
    panels = split_points(last, axes_of_panels or ["pos_encoding"])
    columns = min(len(panels), MAX_COLUMNS)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(
        figsize=(columns * 1.3 * PANEL_WIDTH, rows * 1.2 * PANEL_HEIGHT + 0.7),
        layout="constrained",
    )
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    axes = axes[: len(panels)]
    for ax, (label, table) in zip(axes, panels, strict=True):
        arms = split_points(table, ["masking"])
        for place, (_, arm) in enumerate(arms):
            for offset, (split, colour) in zip((-0.17, 0.17), COLOURS.items(), strict=True):
                values = arm.filter(pl.col("split") == split)["nll_token"]
                draw_dots(ax, place + offset, values, colour, MARKERS[split])
        ax.set_xticks(range(len(arms)), [_arm_name(arm) for _, arm in arms])
        ax.set_xlabel("tokens of “A is B” that are ever masked")
        ax.set_title(label)
        draw_chance(ax, table)
    axes[0].set_ylim(bottom=-0.03 * axes[0].get_ylim()[1])  # dots at 0 are seen whole
    for row in grid:
        row[0].set_ylabel("negative log-likelihood (nats)")
    label_panels(axes)
    handles = [
        Line2D([], [], color=COLOURS[split], marker=MARKERS[split], ls="", label=name)
        for split, name in (
            ("train", "A is ? (order as trained)"),
            ("unseen", "B is ? (reverse query)"),
        )
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    footnote(
        figure,
        f"dots: {seed_phrase(last)}; bars: mean; "
        "dashed: guess among all tokens; dotted: guess among the entities of the class",
    )
    return figure


def _arm_name(table: pl.DataFrame) -> str:
    name = MASKINGS[table["masking"][0]].label
    return name.replace(" ", "\n", 1) if len(name) > 8 else name

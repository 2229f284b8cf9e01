"""Correlation of forward and reverse attention scores by layer and head of pretrained models."""

from __future__ import annotations

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reversal_curse.figures.pretrained_style import KIND_COLOURS, models_of
from reversal_curse.figures.style import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    REFERENCE,
    footnote,
    label_panels,
)
from reversal_curse.pretrained.analysis import STATE, head_correlations

STAGES = ("before", "after")


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """One row per model; left before, right after fine-tuning."""
    if tables["scores"].is_empty():
        figure = Figure(figsize=(2 * PANEL_WIDTH, 0.6 * PANEL_HEIGHT))
        text = "None of these models has a masked token that looks at what comes after it."
        figure.text(0.5, 0.5, text, ha="center", va="center", color=REFERENCE, wrap=True)
        return figure
    models = models_of(head_correlations(tables["scores"]))
    size = (2.8 * PANEL_WIDTH, len(models) * PANEL_HEIGHT + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(models), 2, sharey=True, squeeze=False)
    for row, (model, kind, table) in zip(grid, models, strict=True):
        for ax, stage in zip(row, STAGES, strict=True):
            _draw_panel(ax, table.filter(pl.col("stage") == stage), KIND_COLOURS[kind])
            ax.set_title(f"{model}, {stage} fine-tuning")
        row[0].set_ylabel("correlation of S$_{fwd}$, S$_{rev}$")
    for ax in grid[-1]:
        ax.set_xlabel("layer")
    label_panels(list(grid.flat))
    handles = [
        Line2D([], [], color="black", marker="o", ls="", ms=3, label="a head"),
        Line2D([], [], color="black", lw=1.5, label="mean over heads"),
        Patch(color=REFERENCE, alpha=0.25, lw=0, label="95 % of the permutation null, mean"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    footnote(
        figure,
        "scores of the masked subject for the known object, in the forward sentence and in the "
        "reverse one, before the softmax;\ncorrelation over facts without the means of their "
        "relation and subject length;\nnull: facts shuffled among those; mean over runs of the "
        "fine-tuning",
    )
    return figure


def _draw_panel(ax: Axes, table: pl.DataFrame, colour: str) -> None:
    if table.is_empty():
        ax.text(0.5, 0.5, "not fine-tuned", transform=ax.transAxes, ha="center", color=REFERENCE)
        ax.set_xticks([])
        return
    over_runs = [name for name in STATE if name != "seed"]
    heads = (
        table.group_by(*over_runs, "layer", "head")
        .agg(pl.col("correlation", "null_low", "null_high").mean())
        .sort("layer", "head")
    )
    layers = (
        heads.group_by("layer")
        .agg(pl.col("correlation", "null_low", "null_high").mean())
        .sort("layer")
    )
    ax.plot(heads["layer"], heads["correlation"], "o", color=colour, ms=2.5, mew=0, alpha=0.5)
    edges = [edge for layer in layers["layer"] for edge in (layer - 0.5, layer + 0.5)]
    low, high = (
        [value for value in layers[name] for _ in range(2)] for name in ("null_low", "null_high")
    )
    ax.fill_between(edges, low, high, color=REFERENCE, alpha=0.25, lw=0)
    marker = "_" if layers.height == 1 else None
    ax.plot(layers["layer"], layers["correlation"], color=colour, lw=1.5, marker=marker, ms=12)
    ax.axhline(0, color=REFERENCE, lw=0.6)
    ax.set_ylim(-1.05, 1.05)
    ax.set_xticks(layers["layer"][:: 1 + layers.height // 12])

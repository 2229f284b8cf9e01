"""Alignment of forward and reverse gradients of pretrained models: Jeon et al. 2026."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reversal_curse.figures.dots import draw_dots
from reversal_curse.figures.pretrained_style import KIND_COLOURS, models_of
from reversal_curse.figures.style import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    REFERENCE,
    footnote,
    label_panels,
)

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
STAGES = ("before", "after")
ORDER = ("all", "attention", "values", "fused", "mlp", "embeddings", "head", "norms", "other")


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Cosines by group of parameters, before and after; predicted against actual change."""
    gradients = tables["gradients"]
    models = models_of(gradients)
    figure = Figure(figsize=(4.4 * PANEL_WIDTH, 1.4 * PANEL_HEIGHT + 0.9), layout="constrained")
    *by_stage, change = figure.subplots(1, 3, width_ratios=(1.3, 1.3, 1))
    by_stage[1].sharey(by_stage[0])  # before anything is drawn: later it takes the limits as well
    for ax, stage in zip(by_stage, STAGES, strict=True):
        _draw_groups(ax, gradients.filter(pl.col("stage") == stage), models)
        ax.set_title(f"{stage} fine-tuning")
    by_stage[0].set_ylabel("cosine of forward and reverse gradient")
    _draw_change(change, models)
    label_panels([*by_stage, change])
    handles = [
        Line2D([], [], color=KIND_COLOURS[kind], marker=marker, ls="", label=name)
        for (name, kind, _), marker in _marked(models)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    footnote(
        figure,
        "cosine of the gradients of one fact, forward (masked: of the subject in the forward "
        "sentence; autoregressive: of the object) and reverse, mean over at most five facts; "
        "dots: runs of the fine-tuning, crosses: the reverse\nquestion with another fact's answer; "
        "c: change of the reverse loss by a step along the forward gradient that lowers the "
        "forward loss by 1 %; only where weights are float32; dashed: equal",
    )
    return figure


def _marked(models: list) -> list[tuple]:
    return [(model, MARKERS[i % len(MARKERS)]) for i, model in enumerate(models)]


def _draw_groups(ax: Axes, table: pl.DataFrame, models: list) -> None:
    groups = [group for group in ORDER if group in set(table["group"])]
    offsets = np.linspace(-0.3, 0.3, len(models)) if len(models) > 1 else [0.0]
    for place, group in enumerate(groups):
        for ((name, kind, _), marker), offset in zip(_marked(models), offsets, strict=True):
            cell = table.filter(pl.col("group") == group, pl.col("model") == name)
            draw_dots(ax, place + offset, cell["cosine"], KIND_COLOURS[kind], marker)
            control = cell["cosine_control"].mean()
            if control is not None:
                ax.plot(place + offset, control, "x", color=REFERENCE, ms=3.5, mew=0.8)
    ax.axhline(0, color=REFERENCE, lw=0.6)
    ax.set_xticks(range(len(groups)), groups, rotation=30, ha="right")


def _draw_change(ax: Axes, models: list) -> None:
    largest = 1e-3
    for (_, kind, rows), marker in _marked(models):
        whole = rows.filter(pl.col("group") == "all").drop_nulls("actual_change")
        colour = KIND_COLOURS[kind]
        for stage, filled in (("before", "none"), ("after", colour)):
            part = whole.filter(pl.col("stage") == stage)
            x, y = part["predicted_change"], part["actual_change"]
            ax.plot(x, y, marker, ms=4, mec=colour, mfc=filled, ls="")
        if whole.height:
            largest = max(largest, whole["predicted_change"].abs().max())
    ax.plot([-largest, largest], [-largest, largest], color=REFERENCE, lw=0.7, ls=(0, (4, 2)))
    ax.axhline(0, color=REFERENCE, lw=0.4)
    ax.axvline(0, color=REFERENCE, lw=0.4)
    ax.tick_params(axis="x", rotation=30)
    ax.set_xlabel("predicted change (nats per token)")
    ax.set_ylabel("actual change (nats per token)")
    ax.set_title("reverse loss, forward step")

"""Forward and reverse attention scores, and their correlation: Jeon et al. 2026."""

from __future__ import annotations

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reversal_curse.analysis import POINT, rotary_correlation, score_correlations
from reversal_curse.figures.dots import draw_dots
from reversal_curse.figures.points import seed_phrase, split_points
from reversal_curse.figures.style import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    REFERENCE,
    axis_label,
    footnote,
    label_panels,
)

BEFORE, AFTER = "#999999", "#0072B2"
ENCODING_MARKERS = {"rotary": "o", "alibi": "^", "none": "v", "absolute": "s"}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Scores of one grid point; correlation against D before and after training; during it."""
    attention = tables["attention"]
    correlations = score_correlations(attention)
    figure = Figure(figsize=(3 * PANEL_WIDTH, 2.6 * PANEL_HEIGHT + 0.6), layout="constrained")
    (scatter, during), (before, after) = figure.subplots(2, 2)
    _draw_scores(scatter, attention)
    _draw_training(during, correlations)
    dims = sorted(correlations["head_dim"].unique())
    shades = matplotlib.colormaps["plasma"](np.linspace(0.05, 0.75, len(dims)))
    colours = dict(zip(dims, shades, strict=True))
    last = pl.col("epoch") == pl.col("epoch").max().over(POINT)
    for ax, when, title in (
        (before, pl.col("epoch") == 0, "before training"),
        (after, last, "after training"),
    ):
        _draw_distances(ax, correlations.filter(when), colours)
        ax.set_title(title)
    after.sharey(before)
    label_panels([scatter, during, before, after])
    encodings = [
        part["pos_encoding"][0] for _, part in split_points(correlations, ["pos_encoding"])
    ]
    handles = [
        Line2D([], [], color=colour, marker="o", ls="", label=f"d$_h$ = {dim}")
        for dim, colour in colours.items()
    ]
    handles.append(Line2D([], [], color=REFERENCE, label="ρ(D): rotary, isotropic q and k"))
    for encoding in encodings:
        label, marker = axis_label("pos_encoding", encoding), ENCODING_MARKERS[encoding]
        handles.append(Line2D([], [], color=REFERENCE, marker=marker, ls="", label=label))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    footnote(
        figure,
        "scores of the masked token for the known entity, in “[M] is B” (forward) and “B is [M]” "
        "(reverse), before the softmax\n"
        "correlation over the facts of a seed, mean over layers and heads; dots: "
        f"{seed_phrase(attention)}, bars: mean; a: every fact and seed, centred and scaled by head",
    )
    return figure


def _draw_scores(ax: Axes, attention: pl.DataFrame) -> None:
    """Standardised scores of the shortest displacement and the largest heads, rotary if there."""
    rotary = attention.filter(pl.col("pos_encoding") == "rotary")
    table = attention if rotary.is_empty() else rotary
    table = table.filter(pl.col("displacement") == pl.col("displacement").min())
    table = table.filter(pl.col("heads") == pl.col("heads").min())
    _, one = split_points(table)[0]
    head = ["seed", "epoch", "layer", "head"]
    standardised = one.with_columns(
        (pl.col(name) - pl.col(name).mean().over(head)) / pl.col(name).std().over(head)
        for name in ("score_forward", "score_reverse")
    )
    for epoch, colour, name in (
        (0, BEFORE, "before training"),
        (one["epoch"].max(), AFTER, "after training"),
    ):
        part = standardised.filter(pl.col("epoch") == epoch)
        x, y = part["score_forward"], part["score_reverse"]
        ax.plot(x, y, "o", ms=2.5, mew=0, alpha=0.55, color=colour, label=name)
    low, high = ax.get_xlim()
    ax.plot([low, high], [low, high], color=REFERENCE, lw=0.7, ls=(0, (4, 2)), zorder=0)
    ax.set_xlabel("S$_{fwd}$ (standardised)")
    ax.set_ylabel("S$_{rev}$ (standardised)")
    encoding = axis_label("pos_encoding", one["pos_encoding"][0])
    dim = one["embed_dim"][0] // one["heads"][0]
    ax.set_title(f"{encoding}, D = {one['displacement'][0]}, d$_h$ = {dim}")
    ax.legend(loc="upper left", handletextpad=0.1)


def _draw_training(ax: Axes, correlations: pl.DataFrame) -> None:
    """Mean correlation over seeds along training, at the largest heads."""
    table = correlations.filter(pl.col("head_dim") == pl.col("head_dim").max())
    displacements = sorted(table["displacement"].unique())
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(displacements)))
    styles = {"rotary": "-", "absolute": (0, (4, 2))}
    for displacement, colour in zip(displacements, shades, strict=True):
        part = table.filter(pl.col("displacement") == displacement)
        for index, (_, one) in enumerate(split_points(part, ["pos_encoding"])):
            mean = one.group_by("epoch").agg(pl.col("correlation").mean()).sort("epoch")
            encoding = one["pos_encoding"][0]
            ax.plot(
                mean["epoch"],
                mean["correlation"],
                color=colour,
                linestyle=styles.get(encoding, (0, (1, 1))),
                marker=ENCODING_MARKERS[encoding],
                ms=2.5,
                label=f"D = {displacement}" if index == 0 else None,
            )
    ax.axhline(0, color=REFERENCE, lw=0.6)
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(left=0)
    ax.set_xlabel("epoch")
    ax.set_ylabel("correlation of S$_{fwd}$, S$_{rev}$")
    dashed = "; dashed: absolute" if "absolute" in set(table["pos_encoding"]) else ""
    ax.set_title(f"during training, d$_h$ = {table['head_dim'][0]}{dashed}")
    ax.legend(loc="lower left", ncols=2)


def _draw_distances(ax: Axes, table: pl.DataFrame, colours: dict) -> None:
    """Correlation against D: every seed, and the closed form for rotary positions."""
    displacements = sorted(table["displacement"].unique())
    place = {displacement: index for index, displacement in enumerate(displacements)}
    columns = split_points(table, ["pos_encoding", "head_dim"])
    offsets = np.linspace(-0.3, 0.3, len(columns)) if len(columns) > 1 else [0.0]
    for offset, (_, column) in zip(offsets, columns, strict=True):
        dim, encoding = column["head_dim"][0], column["pos_encoding"][0]
        for _, part in split_points(column, ["displacement"]):
            x = place[part["displacement"][0]] + offset
            draw_dots(ax, x, part["correlation"], colours[dim], ENCODING_MARKERS[encoding])
            if encoding == "rotary":
                rho = rotary_correlation(part["displacement"][0], dim)
                ax.plot([x - 0.12, x + 0.12], [rho] * 2, color=REFERENCE, lw=1.2, zorder=4)
    ax.axhline(0, color=REFERENCE, lw=0.6)
    ax.set_xticks(range(len(displacements)), displacements)
    ax.set_ylim(-1.05, 1.05)
    ax.set_xlabel("displacement D (positions)")
    ax.set_ylabel("correlation of S$_{fwd}$, S$_{rev}$")

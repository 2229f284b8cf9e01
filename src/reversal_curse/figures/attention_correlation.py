"""Forward and reverse attention scores, and their correlation: Jeon et al. 2026."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reversal_curse.analysis import LAST, rotary_correlation, score_correlations
from reversal_curse.figures.curves import draw_mean_and_band
from reversal_curse.figures.dots import draw_dots
from reversal_curse.figures.points import seed_phrase, split_points, values_of
from reversal_curse.figures.style import (
    ENCODING_STYLES,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    REFERENCE,
    axis_label,
    footnote,
    label_panels,
    shades,
)
from reversal_curse.registry import MASKINGS

BEFORE, AFTER = "#999999", "#0072B2"
ENCODING_MARKERS = {"rotary": "o", "alibi": "^", "none": "v", "absolute": "s"}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Scores and correlations before training; then, per masking arm, during and after it."""
    attention = tables["attention"]
    correlations = score_correlations(attention).filter(pl.col("correlation").is_finite())
    arms = split_points(correlations, ["masking"])
    columns = 1 + len(arms)
    size = (1.45 * PANEL_WIDTH * columns, 2.6 * PANEL_HEIGHT + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    top, bottom = figure.subplots(2, columns)
    _draw_scores(top[0], attention)
    dims = sorted(correlations["head_dim"].unique())
    colours = shades(dims, "plasma", low=0.05, high=0.75)
    # Arms start from the same weights; the one with the most distances shows them.
    _, widest = max(arms, key=lambda arm: arm[1]["displacement"].n_unique())
    _draw_distances(bottom[0], widest.filter(pl.col("epoch") == 0), colours)
    bottom[0].set_title("before training")
    for during, after, (_, table) in zip(top[1:], bottom[1:], arms, strict=True):
        arm = f"masked: {MASKINGS[table['masking'][0]].label}"
        _draw_training(during, table)
        during.set_title(f"{arm}; during training, d$_h$ = {max(dims)}")
        _draw_distances(after, table.filter(LAST), colours)
        after.set_title(f"{arm}; after training")
    label_panels([*top, *bottom])
    handles = [
        Line2D([], [], color=colour, marker="o", ls="", label=f"d$_h$ = {dim}")
        for dim, colour in colours.items()
    ]
    for encoding in values_of(correlations, "pos_encoding"):
        label, marker = axis_label("pos_encoding", encoding), ENCODING_MARKERS[encoding]
        style = ENCODING_STYLES[encoding]
        handles.append(Line2D([], [], color=REFERENCE, marker=marker, ls=style, label=label))
    handles.append(
        Line2D([], [], color=REFERENCE, lw=2, label="ρ(D) for rotary positions, isotropic q and k")
    )
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    footnote(
        figure,
        "scores of the masked token for the known entity, in “[M] is B” (forward) and “B is [M]” "
        "(reverse), before the softmax; correlation over the facts of a seed, mean over layers and "
        f"heads\ndots: {seed_phrase(attention)}, bars and lines: mean, bands: one standard "
        "deviation; a: every fact and seed, centred and scaled by head",
    )
    return figure


def _draw_scores(ax: Axes, attention: pl.DataFrame) -> None:
    """Standardised scores of one grid point: rotary, the shortest way, the largest heads."""
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
    arm = MASKINGS[one["masking"][0]].label
    ax.set_title(f"masked: {arm}; {encoding}, D = {one['displacement'][0]}, d$_h$ = {dim}")
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.2 * (top - bottom))  # the legend stands above the dots
    ax.legend(loc="upper left", handletextpad=0.1)


def _draw_training(ax: Axes, correlations: pl.DataFrame) -> None:
    """Mean and standard deviation of the correlation over seeds, at the largest heads."""
    table = correlations.filter(pl.col("head_dim") == pl.col("head_dim").max())
    displacements = sorted(table["displacement"].unique())
    for displacement, colour in shades(displacements).items():
        part = table.filter(pl.col("displacement") == displacement)
        encodings = values_of(part, "pos_encoding")
        for _, one in split_points(part, ["pos_encoding"]):
            encoding = one["pos_encoding"][0]
            draw_mean_and_band(
                ax,
                one,
                "correlation",
                band=0.1,  # up to six of them overlap
                color=colour,
                linestyle=ENCODING_STYLES[encoding],
                marker=ENCODING_MARKERS[encoding],
                ms=2.5,
                label=f"D = {displacement}" if encoding == encodings[-1] else None,
            )
    ax.axhline(0, color=REFERENCE, lw=0.6)
    ax.set_ylim(-1.05, 1.05)
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(left=0)
    ax.set_xlabel("epoch")
    ax.set_ylabel("correlation of S$_{fwd}$, S$_{rev}$")
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
                rho = rotary_correlation(part["displacement"][0], dim, part["rotated"][0])
                ax.plot([x - 0.11, x + 0.11], [rho] * 2, color=REFERENCE, lw=1.5, zorder=4)
    ax.axhline(0, color=REFERENCE, lw=0.6)
    ax.set_xticks(range(len(displacements)), displacements)
    ax.set_xlim(-0.6, len(displacements) - 0.4)
    ax.set_ylim(-1.05, 1.05)
    ax.set_xlabel("displacement D (positions)")
    ax.set_ylabel("correlation of S$_{fwd}$, S$_{rev}$")

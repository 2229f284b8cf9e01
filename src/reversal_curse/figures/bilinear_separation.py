"""Separation of the training dynamics of the bilinear model: Zhu et al. 2024, section 3.

The theorem: `L_rev(t) / L_rev(0) >= (L(t) / L(0))^eps` for all t, where L is the loss of the
direction of a pair that is trained and L_rev that of the direction held out; eps shrinks
as the embedding dimension d grows.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from reversal_curse.analysis import exponents, loss_ratios
from reversal_curse.errors import UserError
from reversal_curse.figures.points import seed_phrase
from reversal_curse.figures.style import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    REFERENCE,
    footnote,
    label_panels,
    shades,
)


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Left: reverse against forward loss along training. Right: the exponent against d."""
    separation = tables["separation"]
    table = exponents(separation)
    if table.is_empty():
        raise UserError("figure bilinear_separation: the trained direction was learned in no run")
    figure = Figure(figsize=(2.9 * PANEL_WIDTH, 1.3 * PANEL_HEIGHT + 0.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_paths(left, separation)
    _draw_exponents(right, table)
    label_panels([left, right])
    footnote(
        figure,
        f"{seed_phrase(separation)}; a: mean over held-out pairs and seeds, band: one "
        "standard deviation over seeds\n"
        "b: smallest exponent that holds for all held-out pairs of a seed; dots: seeds, line: mean",
    )
    return figure


def _draw_paths(ax, separation: pl.DataFrame) -> None:
    ratios = loss_ratios(separation)
    dims = sorted(ratios["embed_dim"].unique())
    for dim, colour in shades(dims).items():
        by_seed = (
            ratios.filter(pl.col("embed_dim") == dim)
            .group_by("epoch", "seed")
            .agg(pl.col("forward", "reverse").mean())
        )
        path = (
            by_seed.group_by("epoch")
            .agg(
                pl.col("forward", "reverse").mean(),
                pl.col("reverse").std().fill_null(0.0).alias("sd"),
            )
            .sort("epoch")
        )
        x, y, sd = (path[name].to_numpy() for name in ("forward", "reverse", "sd"))
        ax.plot(x, y, color=colour, label=f"d = {dim}")
        ax.fill_between(x, y - sd, y + sd, color=colour, alpha=0.2, linewidth=0)
    low = ratios["forward"].min()
    diagonal = np.geomspace(max(low, 1e-4), 1)
    ax.plot(diagonal, diagonal, color=REFERENCE, lw=0.8, ls=(0, (5, 2)), label="no curse: equal")
    ax.axhline(1, color=REFERENCE, lw=0.8, ls=(0, (1, 1.5)))
    ax.set_xscale("log")
    ax.invert_xaxis()
    ax.set_ylim(bottom=0)
    ax.set_xlabel("trained direction, L(t) / L(0)")
    ax.set_ylabel("held-out direction, L$_{rev}$(t) / L$_{rev}$(0)")
    ax.legend(loc="upper right")


def _draw_exponents(ax, table: pl.DataFrame) -> None:
    ax.plot(table["embed_dim"], table["exponent"], "o", ms=3, color="#0072B2", alpha=0.45, mew=0)
    mean = table.group_by("embed_dim").agg(pl.col("exponent").mean()).sort("embed_dim")
    dims, values = mean["embed_dim"].to_numpy(), mean["exponent"].to_numpy()
    ax.plot(dims, values, color="#0072B2", label="measured")
    ax.plot(
        dims,
        values[0] * np.sqrt(dims[0] / dims),
        color=REFERENCE,
        lw=0.8,
        ls=(0, (5, 2)),
        label="proportional to $d^{-1/2}$",
    )
    ax.set_xscale("log", base=2)
    ax.set_xticks(dims)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(bottom=0)
    ax.set_xlabel("embedding dimension d")
    ax.set_ylabel("separation exponent ε")
    ax.legend(loc="upper right")

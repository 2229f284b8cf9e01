"""Separation of the training dynamics of the bilinear model: Zhu et al. 2024, section 3."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from reversal_curse.config.errors import UserError
from reversal_curse.figures import grouping, marks, style
from reversal_curse.tables import summaries

BLUE = "#0072B2"
EXPECTED: dict[str, Any] = {"color": style.REFERENCE, "lw": 0.8, "ls": (0, (5, 2))}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Separation in the bilinear model. Left: loss of the held-out direction against that of the
    trained one along training. Right: the exponent of the bound against the embedding dimension."""
    separation = tables["separation"]
    table = summaries.exponents(separation)
    if table.is_empty():
        raise UserError("plot separation: no run learned the trained direction")
    size = (2.9 * style.PANEL_WIDTH, 1.3 * style.PANEL_HEIGHT + 0.3)
    figure, [[left, right]] = style.new_figure(*size, 1, 2)
    _draw_paths(left, separation)
    _draw_exponents(right, table)
    note = (
        f"{grouping.seed_phrase(separation)}; a: mean over held-out pairs and seeds, band: one "
        "standard deviation over seeds\n"
        "b: smallest exponent that holds for all held-out pairs of a seed; dots: seeds, line: mean"
    )
    return style.finish(figure, [left, right], note)


def _draw_paths(ax: Axes, separation: pl.DataFrame) -> None:
    ratios = summaries.loss_ratios(separation)
    losses = pl.col("forward", "reverse").mean()
    for dim, colour in style.shades(sorted(ratios["embed_dim"].unique())).items():
        seeds = ratios.filter(embed_dim=dim).group_by("epoch", "seed").agg(losses)
        marks.draw_mean_and_band(ax, seeds, "reverse", "forward", color=colour, label=f"d = {dim}")
    diagonal = np.geomspace(max(ratios.select(pl.col("forward").min()).item(), 1e-4), 1)
    ax.plot(diagonal, diagonal, **EXPECTED, label="no curse: equal")
    ax.axhline(1, color=style.REFERENCE, lw=0.8, ls=(0, (1, 1.5)))
    ax.set(xscale="log", xlabel="trained direction, L(t) / L(0)")
    ax.set(ylim=(0, None), ylabel="held-out direction, L$_{rev}$(t) / L$_{rev}$(0)")
    ax.invert_xaxis()
    ax.legend(loc="upper right")


def _draw_exponents(ax: Axes, table: pl.DataFrame) -> None:
    ax.plot(table["embed_dim"], table["exponent"], "o", ms=3, color=BLUE, alpha=0.45, mew=0)
    mean = table.group_by("embed_dim").agg(pl.col("exponent").mean()).sort("embed_dim")
    dims, values = mean["embed_dim"].to_numpy(), mean["exponent"].to_numpy()
    ax.plot(dims, values, color=BLUE, label="measured")
    expected = values[0] * np.sqrt(dims[0] / dims)
    ax.plot(dims, expected, **EXPECTED, label="proportional to $d^{-1/2}$")
    ax.set_xscale("log", base=2)
    ax.set_xticks(dims)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(ylim=(0, None), xlabel="embedding dimension d", ylabel="separation exponent ε")
    ax.legend(loc="upper right")

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

BLUE = style.COLOURS["train"]


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Separation in the bilinear model. Left: loss of the held-out direction against that of the
    trained one along training. Right: the exponent of the bound against the embedding dimension;
    in most seeds it is attained at the first step: it measures how the left panel starts."""
    separation = tables["separation"]
    table = summaries.exponents(separation)
    if table.is_empty():
        raise UserError("plot separation: no run learned the trained direction")
    size = (2.9 * style.PANEL_WIDTH, 1.3 * style.PANEL_HEIGHT + 0.3)
    figure, [[left, right]] = style.new_figure(*size, 1, 2)
    _draw_paths(left, separation)
    _draw_exponents(right, table, summaries.exponent_slopes(separation)["slope"])
    note = (
        f"{grouping.seed_phrase(separation)}; a: mean over held-out pairs and seeds, band: one "
        "standard deviation over seeds, dotted: no change\n"
        "b: smallest exponent that holds for all held-out pairs of a seed, mostly attained at the "
        "first step; dots: seeds\n"
        "fit: mean of the seeds' least-squares slopes, and its 95 % t interval"
    )
    return style.finish(figure, [left, right], note, left.get_legend_handles_labels()[0])


def _draw_paths(ax: Axes, separation: pl.DataFrame) -> None:
    ratios = summaries.loss_ratios(separation)
    losses = pl.col("forward", "reverse").mean()
    for dim, colour in style.shades(sorted(ratios["embed_dim"].unique())).items():
        seeds = ratios.filter(embed_dim=dim).group_by("epoch", "seed").agg(losses)
        marks.draw_mean_and_band(ax, seeds, "reverse", "forward", color=colour, label=f"d = {dim}")
    diagonal = np.geomspace(max(ratios.select(pl.col("forward").min()).item(), 1e-4), 1)
    look: dict[str, Any] = {"color": style.REFERENCE, "lw": 0.8, "ls": (0, (5, 2))}
    ax.plot(diagonal, diagonal, **look, label="no curse: equal")
    ax.axhline(1, color=style.REFERENCE, lw=0.8, ls=(0, (1, 1.5)))
    ax.set(xscale="log", xlabel="trained direction, L(t) / L(0)")
    ax.set(ylim=(0, None), ylabel="held-out direction, L$_{rev}$(t) / L$_{rev}$(0)")
    ax.invert_xaxis()


def _draw_exponents(ax: Axes, table: pl.DataFrame, slopes: pl.Series) -> None:
    table = table.filter(pl.col("exponent") > 0)  # others have no place on a logarithmic axis
    ax.plot(table["embed_dim"], table["exponent"], "o", ms=3, color=BLUE, alpha=0.45, mew=0)
    dims = np.sort(table["embed_dim"].unique())
    if len(slopes):
        # All lines go through the point of means, as least squares does.
        x, y = (np.log(table[name]).mean() for name in ("embed_dim", "exponent"))
        interval = "[{:.2f}, {:.2f}]".format(*summaries.t_interval(slopes.to_numpy()))
        fit = f"fit: slope {slopes.mean():.2f} {interval}".replace("-", "−")
        looks: Any = (
            (slopes.mean(), {"color": BLUE, "label": fit}),
            (-0.5, {"color": "black", "lw": 1, "ls": style.DASHES, "label": "slope −1/2"}),
            (-1.0, {"color": "black", "lw": 1, "ls": (0, (1, 1.5)), "label": "slope −1"}),
        )
        for slope, look in looks:
            ax.plot(dims, np.exp(y + slope * (np.log(dims) - x)), **look)
        ax.legend(loc="upper right")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(dims)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="embedding dimension d", ylabel="separation exponent ε")

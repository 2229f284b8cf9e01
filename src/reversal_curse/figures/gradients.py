"""Alignment of forward and reverse gradients, and what a forward step does in reverse.

Jeon et al. 2026; the autoregressive model beside it.
"""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reversal_curse.config.settings import in_words
from reversal_curse.figures import style
from reversal_curse.figures.grouping import seed_phrase, split_points, values_of
from reversal_curse.figures.marks import draw_groups, draw_mean_and_band, frame_change


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Alignment of forward and reverse gradients: cosine during training, and its mean by group of
    parameters; and the change of the reverse loss by a forward step, predicted and actual."""
    gradients = tables["gradients"]
    families = values_of(gradients, "family")
    size = (4.1 * style.PANEL_WIDTH, 1.3 * style.PANEL_HEIGHT + 0.9)
    figure, grid = style.new_figure(*size, 1, 3, width_ratios=(1, 1.25, 1))
    cosine, groups, change = grid[0]
    whole = gradients.filter(pl.col("group") == "all")
    _draw_cosine(cosine, whole)
    _draw_groups(groups, gradients, families)
    _draw_change(change, whole, families)
    handles = [style.key(in_words("family", f), style.family_colour(f)) for f in families]
    for encoding in values_of(gradients, "pos_encoding"):
        label = in_words("pos_encoding", encoding)
        handles.append(style.key(label, ls=style.encoding_line(encoding)))
    note = (
        "cosine of the gradients of one fact, forward ([M] is B; autoregressive: A is ?) and "
        "reverse (B is ?), mean over five facts\n"
        f"a: mean of {seed_phrase(gradients)}, band: one standard deviation, thin: the reverse "
        "question with another fact's answer; b: mean over training, dots: seeds, crosses: another "
        "fact's answer\n"
        "c: change of the reverse loss by a step along the forward gradient that lowers the "
        "forward loss by 1 %; every look at every seed; dashed: equal"
    )
    style.finish(figure, grid[0], note, handles)
    return figure


def _draw_cosine(ax: Axes, whole: pl.DataFrame) -> None:
    for _, point in split_points(whole, ["family", "pos_encoding"]):
        colour = style.family_colour(point["family"][0])
        line = style.encoding_line(point["pos_encoding"][0])
        draw_mean_and_band(ax, point, "cosine", color=colour, ls=line)
        control = point.group_by("epoch").agg(pl.col("cosine_control").mean()).sort("epoch")
        ax.plot(control["epoch"], control["cosine_control"], color=colour, ls=line, lw=0.5)
    ax.axhline(0, color=style.REFERENCE, lw=0.6)
    ax.set_xscale("symlog", linthresh=1)
    ax.set(xlim=(0, None), xlabel="epoch", ylabel="cosine of forward and reverse gradient")
    ax.set_title("all parameters")


def _draw_groups(ax: Axes, gradients: pl.DataFrame, families: list[str]) -> None:
    """Mean over training, at one positional encoding: rotary where it is there.

    With ALiBi or without positions both layouts of a fact are one to an encoder.
    """
    encodings = values_of(gradients, "pos_encoding")
    encoding = "rotary" if "rotary" in encodings else encodings[-1]
    table = gradients.filter(pl.col("pos_encoding") == encoding)
    drawn = [(table.filter(pl.col("family") == f), style.family_colour(f), "o") for f in families]
    draw_groups(ax, drawn, 0.18, ms=4, mew=0.9)
    ax.set_title(f"by group of parameters; {in_words('pos_encoding', encoding)}")
    ax.set_ylabel("cosine, mean over training")


def _draw_change(ax: Axes, whole: pl.DataFrame, families: list[str]) -> None:
    for family in families:
        part = whole.filter(pl.col("family") == family)
        x, y = part["predicted_change"], part["actual_change"]
        ax.plot(x, y, "o", ms=2, mew=0, alpha=0.4, color=style.family_colour(family))
    ax.set_xscale("symlog", linthresh=1e-3)
    ax.set_yscale("symlog", linthresh=1e-3)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(FixedLocator([-0.1, -0.01, 0, 0.01, 0.1]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    end = 2 * max(whole.select(pl.col("predicted_change").abs().max()).item(), 1e-3)
    line = np.concatenate([-np.geomspace(end, 1e-6, 40), np.geomspace(1e-6, end, 40)])
    frame_change(ax, line, "nats", zorder=0)

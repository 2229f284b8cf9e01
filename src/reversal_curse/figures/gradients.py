"""Forward and reverse gradients, and what a forward step does in reverse: Jeon et al. 2026."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reversal_curse.config.settings import in_words
from reversal_curse.families import FAMILIES
from reversal_curse.figures import grouping, marks, style


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Alignment of forward and reverse gradients: cosine during training, and its mean by group of
    parameters; and the change of the reverse loss by a forward step, predicted and actual."""
    gradients = tables["gradients"]
    colours = {f: FAMILIES[f].colour for f in grouping.values_of(gradients, "family")}
    encodings = grouping.values_of(gradients, "pos_encoding")
    size = (4.1 * style.PANEL_WIDTH, 1.3 * style.PANEL_HEIGHT + 0.9)
    figure, [panels] = style.new_figure(*size, 1, 3, width_ratios=(1, 1.25, 1))
    cosine, groups, change = panels
    whole = gradients.filter(group="all")
    _draw_cosine(cosine, whole, colours)
    # With ALiBi or without positions an encoder cannot tell the layouts of a fact apart.
    encoding = "rotary" if "rotary" in encodings else encodings[-1]
    at_one = gradients.filter(pos_encoding=encoding)
    drawn = [(at_one.filter(family=family), c, "o") for family, c in colours.items()]
    marks.draw_groups(groups, drawn, 0.18, ms=4, mew=0.9)
    title = f"by group of parameters; {in_words('pos_encoding', encoding)}"
    groups.set(title=title, ylabel="cosine, mean over training")
    _draw_change(change, whole, colours)
    style.turn_crowded([change])
    handles = [style.key(in_words("family", family), c) for family, c in colours.items()]
    for name in encodings:
        line = style.ENCODINGS[name]["ls"]
        handles.append(style.key(in_words("pos_encoding", name), ls=line))
    handles.append(style.key("another fact's answer", style.REFERENCE, lw=0.5, marker="x", ms=4))
    note = (
        "cosine of the gradients of one fact, forward ([M] is B; autoregressive: A is ?) and "
        "reverse (B is ?), mean over five facts\n"
        f"a: mean of {grouping.seed_phrase(gradients)}, band: one standard deviation; b: mean over "
        "training, dots: seeds; thin lines, crosses: the reverse question with another fact's "
        "answer\n"
        "c: change of the reverse loss by a step along the forward gradient that lowers the "
        "forward loss by 1 %; every look at every seed; dashed: equal"
    )
    return style.finish(figure, panels, note, handles)


def _draw_cosine(ax: Axes, whole: pl.DataFrame, colours: dict[str, str]) -> None:
    for _, point in grouping.split_points(whole, ["family", "pos_encoding"]):
        colour = colours[point["family"][0]]
        line = style.ENCODINGS[point["pos_encoding"][0]]["ls"]
        marks.draw_mean_and_band(ax, point, "cosine", limits=(-1, 1), color=colour, ls=line)
        control = point.group_by("epoch").agg(pl.col("cosine_control").mean()).sort("epoch")
        ax.plot(control["epoch"], control["cosine_control"], color=colour, ls=line, lw=0.5)
    ax.axhline(0, color=style.REFERENCE, lw=0.6)
    ax.set_xscale("symlog", linthresh=1)
    ax.set(xlim=(0, None), xlabel=style.EPOCHS, ylabel="cosine of forward and reverse gradient")
    ax.set_title("all parameters")


def _draw_change(ax: Axes, whole: pl.DataFrame, colours: dict[str, str]) -> None:
    for family, colour in colours.items():
        part = whole.filter(family=family)
        x, y = part["predicted_change"], part["actual_change"]
        ax.plot(x, y, "o", ms=2, mew=0, alpha=0.4, color=colour)
    ax.set_xscale("symlog", linthresh=1e-3)
    ax.set_yscale("symlog", linthresh=1e-3)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(FixedLocator([-0.1, -0.01, 0, 0.01, 0.1]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
        axis.set_minor_locator(NullLocator())
    end = 2 * max(whole.select(pl.col("predicted_change").abs().max()).item(), 1e-3)
    line = np.concatenate([-np.geomspace(end, 1e-6, 40), np.geomspace(1e-6, end, 40)])
    marks.frame_change(ax, line, "nats, symmetric log", zorder=0)

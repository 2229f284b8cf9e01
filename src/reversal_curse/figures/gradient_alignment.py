"""Alignment of forward and reverse gradients, and what a forward step does in reverse.

Jeon et al. 2026; the autoregressive model beside it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reversal_curse.figures.curves import draw_mean_and_band
from reversal_curse.figures.dots import draw_dots
from reversal_curse.figures.points import seed_phrase, split_points, values_of
from reversal_curse.figures.style import (
    ENCODING_STYLES,
    FAMILY_COLOURS,
    FAMILY_NAMES,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    REFERENCE,
    axis_label,
    footnote,
    label_panels,
)

GROUPS = ("all", "attention", "values", "mlp", "embeddings", "head", "norms")


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Cosine during training; by group of parameters; predicted against actual change."""
    gradients = tables["gradients"]
    families = [family for family in FAMILY_COLOURS if family in set(gradients["family"])]
    figure = Figure(figsize=(4.1 * PANEL_WIDTH, 1.3 * PANEL_HEIGHT + 0.9), layout="constrained")
    cosine, groups, change = figure.subplots(1, 3, width_ratios=(1, 1.25, 1))
    whole = gradients.filter(pl.col("group") == "all")
    _draw_cosine(cosine, whole)
    _draw_groups(groups, gradients, families)
    _draw_change(change, whole, families)
    label_panels([cosine, groups, change])
    handles = [
        Line2D([], [], color=FAMILY_COLOURS[family], label=FAMILY_NAMES.get(family, family))
        for family in families
    ]
    for encoding in values_of(gradients, "pos_encoding"):
        label, style = axis_label("pos_encoding", encoding), ENCODING_STYLES[encoding]
        handles.append(Line2D([], [], color="black", ls=style, label=label))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    footnote(
        figure,
        "cosine of the gradients of one fact, forward ([M] is B; autoregressive: A is ?) and "
        "reverse (B is ?), mean over five facts\n"
        f"a: mean of {seed_phrase(gradients)}, band: one standard deviation, thin: the reverse "
        "question with another fact's answer; b: mean over training, dots: seeds, crosses: another "
        "fact's answer\n"
        "c: change of the reverse loss by a step along the forward gradient that lowers the "
        "forward loss by 1 %; every look at every seed; dashed: equal",
    )
    return figure


def _draw_cosine(ax: Axes, whole: pl.DataFrame) -> None:
    for _, point in split_points(whole, ["family", "pos_encoding"]):
        colour = FAMILY_COLOURS[point["family"][0]]
        style = ENCODING_STYLES[point["pos_encoding"][0]]
        draw_mean_and_band(ax, point, "cosine", color=colour, ls=style)
        control = point.group_by("epoch").agg(pl.col("cosine_control").mean()).sort("epoch")
        ax.plot(control["epoch"], control["cosine_control"], color=colour, ls=style, lw=0.5)
    ax.axhline(0, color=REFERENCE, lw=0.6)
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(left=0)
    ax.set_xlabel("epoch")
    ax.set_ylabel("cosine of forward and reverse gradient")
    ax.set_title("all parameters")


def _draw_groups(ax: Axes, gradients: pl.DataFrame, families: list[str]) -> None:
    """Mean over training, at one positional encoding: rotary where it is there.

    With ALiBi or without positions both layouts of a fact are one to an encoder.
    """
    encodings = values_of(gradients, "pos_encoding")
    encoding = "rotary" if "rotary" in encodings else encodings[-1]
    table = gradients.filter(pl.col("pos_encoding") == encoding)
    present = [group for group in GROUPS if group in set(table["group"])]
    offsets = np.linspace(-0.18, 0.18, len(families)) if len(families) > 1 else [0.0]
    for place, group in enumerate(present):
        for family, offset in zip(families, offsets, strict=True):
            cell = table.filter(pl.col("group") == group, pl.col("family") == family)
            means = pl.col("cosine", "cosine_control").mean()
            by_seed = cell.group_by("seed").agg(means).sort("seed")
            draw_dots(ax, place + offset, by_seed["cosine"], FAMILY_COLOURS[family])
            control = by_seed["cosine_control"].mean()
            if control is not None:
                ax.plot(place + offset, control, "x", color=REFERENCE, ms=4, mew=0.9)
    ax.axhline(0, color=REFERENCE, lw=0.6)
    ax.set_xticks(range(len(present)), present, rotation=30, ha="right")
    ax.set_title(f"by group of parameters; {axis_label('pos_encoding', encoding)}")
    ax.set_ylabel("cosine, mean over training")


def _draw_change(ax: Axes, whole: pl.DataFrame, families: list[str]) -> None:
    for family in families:
        part = whole.filter(pl.col("family") == family)
        x, y = part["predicted_change"], part["actual_change"]
        ax.plot(x, y, "o", ms=2, mew=0, alpha=0.4, color=FAMILY_COLOURS[family])
    ax.set_xscale("symlog", linthresh=1e-3)
    ax.set_yscale("symlog", linthresh=1e-3)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(FixedLocator([-0.1, -0.01, 0, 0.01, 0.1]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    end = 2 * max(whole["predicted_change"].abs().max(), 1e-3)
    line = np.concatenate([-np.geomspace(end, 1e-6, 40), np.geomspace(1e-6, end, 40)])
    ax.plot(line, line, color=REFERENCE, lw=0.7, ls=(0, (4, 2)), zorder=0)
    ax.axhline(0, color=REFERENCE, lw=0.4)
    ax.axvline(0, color=REFERENCE, lw=0.4)
    ax.set_xlabel("predicted change (nats)")
    ax.set_ylabel("actual change (nats)")
    ax.set_title("reverse loss, forward step")

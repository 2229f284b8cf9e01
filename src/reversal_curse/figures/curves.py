"""Panels of negative log-likelihood against epoch: the shape of most figures."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reversal_curse.figures.points import seed_phrase, split_points, without_diverged
from reversal_curse.figures.style import (
    COLOURS,
    MAX_COLUMNS,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    REFERENCE,
    footnote,
    label_panels,
    split_names,
)

WORD_STYLE = (0, (4, 1.5))
BAND = 0.2  # opacity
LONG_TITLE = 32  # characters; longer ones take two lines


def nll_panels(metrics: pl.DataFrame, with_words: bool = False) -> Figure:
    """One panel per grid point of the `metrics` table of a sweep.

    Each shows the mean over seeds with a band of one standard deviation, and both chance
    levels. `with_words` adds the loss of the whole answer beside that of its first token.
    """
    panels = split_points(metrics)
    columns = min(len(panels), MAX_COLUMNS)
    rows = math.ceil(len(panels) / columns)
    single = len(panels) == 1
    width = 1.55 * PANEL_WIDTH if single else columns * PANEL_WIDTH
    height = (1.35 if single or with_words else 1.0) * rows * PANEL_HEIGHT
    figure = Figure(figsize=(width, height + 0.55), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for ax, (label, all_seeds) in zip(axes, panels, strict=False):
        table, diverged = without_diverged(all_seeds, "nll_token")
        if diverged:
            label = f"{label}\n{diverged} of {all_seeds['seed'].n_unique()} seeds diverged"
        draw_nll(ax, table, "nll_token")
        if with_words:
            draw_nll(ax, table, "nll_word", WORD_STYLE)
        draw_chance(ax, all_seeds)
        ax.set_title(label.replace(", ", ",\n", 1) if len(label) > LONG_TITLE else label)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    axes[0].set_ylim(bottom=0)  # shared, so only once every panel is drawn
    axes[0].set_xlim(0, metrics["epoch"].max())
    for index, ax in enumerate(axes[: len(panels)]):
        if index + columns >= len(panels):
            ax.set_xlabel("epoch")
            ax.tick_params(labelbottom=True)
    for row in grid:
        row[0].set_ylabel("negative log-likelihood (nats)")
    label_panels(axes[: len(panels)])
    _legend(figure, with_words, split_names(metrics["task"].unique().to_list()))
    note = f"line: mean of {seed_phrase(metrics)}; band: one standard deviation"
    footnote(figure, note + (_chance_levels(metrics) if with_words else ""))
    return figure


def _chance_levels(metrics: pl.DataFrame) -> str:
    """What the chance levels are of; a class may be known by a token that its words share."""
    if set(metrics["task"]) == {"chain_related"}:
        return "\nchance, vocabulary: of one token; chance, entity class: of the whole word"
    return "; chance levels: of one token"


def draw_nll(ax: Axes, table: pl.DataFrame, column: str, style: object = "-") -> None:
    """Mean and standard deviation over seeds of one loss column, for both splits."""
    for split, colour in COLOURS.items():
        part = table.filter(pl.col("split") == split)
        width = 2.2 if split == "train" else 1.2  # both show where they coincide
        draw_mean_and_band(ax, part, column, color=colour, ls=style, lw=width)


def draw_mean_and_band(
    ax: Axes, table: pl.DataFrame, column: str, band: float = BAND, **line: Any
) -> None:
    """A column against the epoch: its mean over seeds, and one standard deviation around it.

    `band` is the opacity of the latter.
    """
    value = pl.col(column)
    summary = (
        table.group_by("epoch")
        .agg(mean=value.mean(), sd=value.std().fill_null(0.0))
        .sort("epoch")
        .select(
            "epoch", "mean", low=pl.col("mean") - pl.col("sd"), high=pl.col("mean") + pl.col("sd")
        )
    )
    epoch, mean, low, high = (part.to_numpy() for part in summary)
    (drawn,) = ax.plot(epoch, mean, **line)
    ax.fill_between(epoch, low, high, color=drawn.get_color(), alpha=band, linewidth=0)


def draw_chance(ax: Axes, table: pl.DataFrame) -> None:
    """Both chance levels as labelled lines: uniform over the vocabulary, and over the class."""
    vocabulary, entity_class = table["chance_vocab"][0], table["chance_class"][0]
    for level, style, name, side in (
        (vocabulary, (0, (5, 2)), f"ln {math.exp(vocabulary):.0f}", "bottom"),
        (entity_class, (0, (1, 1.5)), f"ln {math.exp(entity_class):.0f}", "top"),
    ):
        ax.axhline(level, color=REFERENCE, linewidth=0.8, linestyle=style, zorder=1)
        ax.annotate(
            f"{name} = {level:.2f}",
            (0.985, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, 1.5 if side == "bottom" else -2),
            textcoords="offset points",
            ha="right",
            va=side,
            fontsize=6,
            color=REFERENCE,
        )


def _legend(figure: Figure, with_words: bool, names: dict[str, str]) -> None:
    handles = [Line2D([], [], color=COLOURS[split], label=name) for split, name in names.items()]
    if with_words:
        handles += [
            Line2D([], [], color="black", label="first token"),
            Line2D([], [], color="black", linestyle=WORD_STYLE, label="whole entity"),
        ]
    handles += [
        Line2D([], [], color=REFERENCE, lw=0.8, ls=(0, (5, 2)), label="chance, vocabulary"),
        Line2D([], [], color=REFERENCE, lw=0.8, ls=(0, (1, 1.5)), label="chance, entity class"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2 if len(handles) < 6 else 3)

"""Panels of negative log-likelihood against epoch: the shape of most figures."""

from __future__ import annotations

import math

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
    footnote(figure, note + ("; chance levels: of one token" if with_words else ""))
    return figure


def draw_nll(ax: Axes, table: pl.DataFrame, column: str, style: object = "-") -> None:
    """Mean and standard deviation over seeds of one loss column, for both splits."""
    summary = (
        table.group_by("split", "epoch")
        .agg(pl.col(column).mean().alias("mean"), pl.col(column).std().fill_null(0.0).alias("sd"))
        .sort("epoch")
    )
    for split, colour in COLOURS.items():
        part = summary.filter(pl.col("split") == split)
        mean, sd, epoch = part["mean"].to_numpy(), part["sd"].to_numpy(), part["epoch"].to_numpy()
        width = 2.2 if split == "train" else 1.2  # both show where they coincide
        ax.plot(epoch, mean, color=colour, linestyle=style, linewidth=width)
        ax.fill_between(epoch, mean - sd, mean + sd, color=colour, alpha=0.25, linewidth=0)


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

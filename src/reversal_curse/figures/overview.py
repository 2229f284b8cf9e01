"""One picture of a whole grid: what is said and what is known of the unseen, in every cell."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reversal_curse.figures import grouping, style
from reversal_curse.tables.summaries import LEARNED, final_by_seed

ROWS = ("layers", "heads", "embed_dim")
COLUMNS = ("vocab_size", "entity_length", "pos_encoding")
# By column, the title and the colours of a map; both scales are fixed, whatever the grid.
MAPS = {
    "unseen_accuracy": ("said: accuracy among all tokens", "viridis", "fraction"),
    "unseen_rank_choice": ("known: rank among the candidates", "PuOr_r", "0.5: nothing known"),
}
NOT_LEARNED = "#DDDDDD"  # cells whose training sentences were not learned


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """What is said of the unseen sentences (left, accuracy among all tokens) and what is known of
    them (right, share of the other possible answers that are less probable than the right one, 0.5
    for a guess) after the last epoch, at every grid point. A row of heat maps for each family, and
    for each value of what has no place in rows and columns; numbers are mean and standard deviation
    over the seeds that learned the training sentences; grey: none did."""
    last = final_by_seed(tables["metrics"]).with_columns(learned=LEARNED)
    varied = grouping.varying_settings(last)
    down = [name for name in ROWS if name in varied]
    across = [name for name in COLUMNS if name in varied]
    others, follows = [n for n in varied if n not in (*ROWS, *COLUMNS, "family", "task")], []
    for name in others:
        rest = [other for other in varied if other not in (name, *follows)]
        if rest and last.n_unique(rest) == last.n_unique("run"):
            follows.append(name)
    others = [name for name in others if name not in follows]
    for place in (across, down):  # what else varies fills a side that is empty
        if not place and others:
            place.append(others.pop())
    outer = [name for name in varied if name not in (*down, *across, *follows)]
    parts = grouping.split_points(last, outer)
    rows = [_split(part, down) for _, part in parts]
    columns = [[label for label, _ in _split(part, across)] for _, part in parts]
    heights, width = [len(by_row) for by_row in rows], max(map(len, columns))
    size = (max(width * 1.5 + 3.4, 8.0), sum(heights) * 0.36 + len(parts) * 1.15 + 0.7)
    figure, grid = style.new_figure(*size, len(parts), 2, height_ratios=heights)
    for axes, (label, _), by_row, names in zip(grid, parts, rows, columns, strict=True):
        for ax, (value, (title, colours, _)) in zip(axes, MAPS.items(), strict=True):
            # Equal cells in every panel: short grids do not stretch over the width of long ones.
            mean = np.full((len(by_row), width), np.nan)
            for row, (_, table) in enumerate(by_row):
                for name, cell in _split(table, across):
                    column = names.index(name)
                    mean[row, column] = _draw_cell(ax, row, column, cell, value)
            ax.imshow(mean, cmap=colours, vmin=0, vmax=1, aspect="auto")
            heading = f"{label or 'all grid points'}\n{title}"
            ax.set_title(heading, loc="left", fontsize=style.points(7.5))
            ax.set_xticks(range(len(names)), [style.in_lines(name) for name in names])
            ax.set_yticks(range(len(by_row)), [name for name, _ in by_row])
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
    for axes, (_, _, name) in zip(grid.T, MAPS.values(), strict=True):
        bar: dict[str, Any] = {"ax": axes}
        if style.grid_of(axes[0]).ncols == 1:  # maps of both kinds in turn
            bar = {"ax": list(grid.flat), "location": "bottom", "aspect": 30}
        figure.colorbar(axes[0].images[0], **bar, label=name, shrink=0.6, pad=0.02)
    note = (
        f"after the last epoch; mean ± standard deviation over {grouping.seed_phrase(last)} that "
        "learned the training sentences; grey: none did; *: some did not"
    )
    if follows:
        note += f"; follows from the rest: {', '.join(follows)}"
    return style.finish(figure, [], note)  # panels have titles in place of letters


def _split(table: pl.DataFrame, settings: list[str]) -> list[tuple[str, pl.DataFrame]]:
    """Split a table by those of the settings that have a value in it."""
    return grouping.split_points(table, [s for s in settings if grouping.values_of(table, s)])


def _draw_cell(ax: Axes, row: int, column: int, seeds: pl.DataFrame, value: str) -> float:
    """Write one grid point into its cell; return its mean, NaN if there is none."""
    kept, diverged = grouping.without_diverged(seeds, "unseen_nll_token")
    learned = kept.filter("learned").drop_nulls(value)
    mean, text = np.nan, f"{diverged} of {seeds.height}\ndiverged" if diverged else ""
    if learned.is_empty():
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=NOT_LEARNED, lw=0))
        text = text or ("not learned" if kept.filter("learned").is_empty() else "one candidate")
    else:
        mean = learned.select(pl.col(value).mean()).item()
        star = "" if learned.height == seeds.height else "*"
        text = grouping.mean_and_spread(learned[value], 2).replace(" ±", "\n±") + star
    dark = mean < 0.55 if value == "unseen_accuracy" else abs(mean - 0.5) > 0.35
    font: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": style.points(6.5)}
    ax.text(column, row, text, color="white" if dark else "black", **font)
    return mean

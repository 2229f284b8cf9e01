"""One picture of a whole grid: the reversal gap in every cell."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures.grouping import (
    mean_and_spread,
    seed_phrase,
    split_points,
    values_of,
    varying_settings,
    without_diverged,
)
from reversal_curse.figures.style import finish, new_figure
from reversal_curse.tables.summaries import LEARNED, final_by_seed

ROWS = ("layers", "heads", "embed_dim")
COLUMNS = ("vocab_size", "entity_length", "pos_encoding")


def reversal_gap(metrics: pl.DataFrame) -> pl.DataFrame:
    """Per grid point and seed: `gap`, the last unseen minus train loss (nats), and `learned`."""
    gap = pl.col("unseen_nll_token") - pl.col("train_nll_token")
    return final_by_seed(metrics).with_columns(gap=gap, learned=LEARNED)


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """The reversal gap, loss of the unseen sentences minus training loss after the last epoch, at
    every grid point; 0 would be no curse. A heat map for each family, and for each value of what
    has no place in rows and columns; numbers are mean and standard deviation over seeds."""
    gaps = reversal_gap(tables["metrics"])
    varied = varying_settings(gaps)
    down = [name for name in ROWS if name in varied]
    across = [name for name in COLUMNS if name in varied]
    outer = [name for name in varied if name not in (*down, *across)]
    others = [name for name in outer if name not in ("family", "task")]
    for place in (across, down):  # what else varies fills a side that is empty
        if not place and others:
            place.append(others.pop())
            outer.remove(place[0])
    panels = [(label, *_cells(table, down, across)) for label, table in split_points(gaps, outer)]
    heights = [len(rows) for _, rows, *_ in panels]
    widths = [len(columns) for _, _, columns, *_ in panels]
    height = sum(heights) * 0.36 + len(panels) * 1.15 + 0.5
    size = (max(max(widths) * 0.85 + 2.4, 5.4), height)
    figure, grid = new_figure(*size, len(panels), height_ratios=heights)
    axes = list(grid.flat)
    measured = np.concatenate([mean[np.isfinite(mean)] for *_, mean, _ in panels])
    top = measured.max(initial=1.0)
    for ax, (label, rows, columns, mean, texts) in zip(axes, panels, strict=True):
        # Equal cells in every panel: short grids do not stretch over the width of long ones.
        padded = np.full((len(rows), max(widths)), np.nan)
        padded[:, : len(columns)] = mean
        image = ax.imshow(padded, cmap="viridis", vmin=0, vmax=top, aspect="auto")
        ax.set_title(label or "all grid points", loc="left", fontweight="bold")
        ax.set_xticks(range(len(columns)), [name.replace(", ", "\n") for name in columns])
        ax.set_yticks(range(len(rows)), rows)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        for (row, column), text in texts.items():
            dark = mean[row, column] <= 0.55 * top
            font = {"ha": "center", "va": "center", "fontsize": 6.5}
            ax.text(column, row, text, color="white" if dark else "black", **font)
    figure.colorbar(image, ax=axes, label="reversal gap (nats)", shrink=0.6, pad=0.02)
    note = (
        "reversal gap: loss of the unseen direction minus training loss, first answer token,\n"
        f"after the last epoch; mean ± standard deviation over {seed_phrase(gaps)}; 0: no curse\n"
        "*: training sentences not learned by some seeds"
    )
    finish(figure, [], note)  # panels have titles in place of letters
    return figure


def _cells(
    table: pl.DataFrame, down: list[str], across: list[str]
) -> tuple[list[str], list[str], np.ndarray, dict[tuple[int, int], str]]:
    """Row labels, column labels, mean gaps (NaN where there is none), and the cells' texts.

    Labels say the settings `down` and `across`, as far as this panel has them.
    """
    down, across = ([name for name in names if values_of(table, name)] for names in (down, across))
    rows = [label for label, _ in split_points(table, down)]
    columns = [label for label, _ in split_points(table, across)]
    mean, texts = np.full((len(rows), len(columns)), np.nan), {}
    for row, (_, part) in enumerate(split_points(table, down)):
        for column_label, all_seeds in split_points(part, across):
            place = row, columns.index(column_label)
            cell, diverged = without_diverged(all_seeds, "gap")
            texts[place] = f"{diverged} of {all_seeds.height}\ndiverged" if diverged else ""
            if cell.height:
                mean[place] = cell["gap"].mean()
                star = "" if cell["learned"].all() else "*"
                gap = mean_and_spread(cell["gap"]) + star
                texts[place] = "\n".join(filter(None, [gap, texts[place]]))
    return rows, columns, mean, texts

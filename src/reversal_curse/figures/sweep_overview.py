"""One picture of a whole grid: the reversal gap in every cell."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from reversal_curse.analysis import LEARNED, POINT, final_by_seed
from reversal_curse.figures.points import (
    mean_and_spread,
    seed_phrase,
    split_points,
    varying_axes,
    without_diverged,
)
from reversal_curse.figures.style import footnote
from reversal_curse.registry import uses

ROW_AXES = ("layers", "heads", "embed_dim")
COLUMN_AXES = ("vocab_size", "entity_length", "pos_encoding")


def reversal_gap(metrics: pl.DataFrame) -> pl.DataFrame:
    """Per grid point and seed after the last epoch: `gap` and `learned`.

    The gap is the unseen minus the train loss per token (nats); `learned` says whether the
    training sentences were.
    """
    gap = pl.col("unseen_nll_token") - pl.col("train_nll_token")
    return final_by_seed(metrics).select(*POINT, "seed", gap.alias("gap"), LEARNED.alias("learned"))


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """One heat map per family (and per task and variant, where they vary)."""
    gaps = reversal_gap(tables["metrics"])
    outer = [axis for axis in varying_axes(gaps) if axis not in (*ROW_AXES, *COLUMN_AXES)]
    inner = [axis for axis in (*ROW_AXES, *COLUMN_AXES) if len(_values(gaps, axis)) > 1]
    panels = [(label, *_cells(table, inner)) for label, table in split_points(gaps, outer)]
    heights = [len(rows) for _, rows, *_ in panels]
    widths = [len(columns) for _, _, columns, *_ in panels]
    figure = Figure(
        figsize=(max(widths) * 0.85 + 2.4, sum(heights) * 0.36 + len(panels) * 1.15 + 0.5),
        layout="constrained",
    )
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    measured = np.concatenate([mean[np.isfinite(mean)] for *_, mean, _ in panels])
    top = measured.max(initial=1.0)
    for ax, (label, rows, columns, mean, texts) in zip(axes, panels, strict=True):
        # Equal cells in every panel: short grids do not stretch over the width of long ones.
        padded = np.full((len(rows), max(widths)), np.nan)
        padded[:, : len(columns)] = mean
        image = ax.imshow(padded, cmap="viridis", vmin=0, vmax=top, aspect="auto")
        ax.set_title(label or "all grid points", loc="left", fontweight="bold")
        ax.set_xticks(range(len(columns)), [_wrap(name) for name in columns])
        ax.set_yticks(range(len(rows)), rows)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        for (row, column), text in texts.items():
            dark = mean[row, column] <= 0.55 * top
            ax.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=6.5,
                color="white" if dark else "black",
            )
    figure.colorbar(image, ax=list(axes), label="reversal gap (nats)", shrink=0.6, pad=0.02)
    footnote(
        figure,
        "reversal gap: loss of the unseen direction minus training loss, first answer token,\n"
        f"after the last epoch; mean ± standard deviation over {seed_phrase(gaps)}; 0: no curse\n"
        "*: training sentences not learned by some seeds",
    )
    return figure


def _values(table: pl.DataFrame, axis: str) -> set:
    """The values of an axis where it means something; elsewhere there is only a canonical one."""
    points = table.select("family", "task", value=axis).unique()
    return {value for family, task, value in points.rows() if axis in uses(family, task)}


def _cells(
    table: pl.DataFrame, varying: list[str]
) -> tuple[list[str], list[str], np.ndarray, dict[tuple[int, int], str]]:
    """Row labels, column labels, mean gaps (NaN where there is none), and the cells' texts.

    Labels say the `varying` axes, those of all panels, as far as this one has them.
    """
    said = [axis for axis in varying if _values(table, axis)]
    row_axes = [axis for axis in ROW_AXES if axis in said]
    column_axes = [axis for axis in COLUMN_AXES if axis in said]
    rows = [label for label, _ in split_points(table, row_axes)]
    columns = [label for label, _ in split_points(table, column_axes)]
    mean, texts = np.full((len(rows), len(columns)), np.nan), {}
    for row, (_, part) in enumerate(split_points(table, row_axes)):
        for column_label, all_seeds in split_points(part, column_axes):
            place = row, columns.index(column_label)
            cell, diverged = without_diverged(all_seeds, "gap")
            texts[place] = f"{diverged} of {all_seeds.height}\ndiverged" if diverged else ""
            if cell.height:
                mean[place] = cell["gap"].mean()
                star = "" if cell["learned"].all() else "*"
                gap = mean_and_spread(cell["gap"]) + star
                texts[place] = "\n".join(filter(None, [gap, texts[place]]))
    return rows, columns, mean, texts


def _wrap(label: str) -> str:
    return label.replace(", ", "\n")

"""One picture of a whole grid: the reversal gap in every cell."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures import grouping, style
from reversal_curse.tables.summaries import LEARNED, final_by_seed

ROWS = ("layers", "heads", "embed_dim")
COLUMNS = ("vocab_size", "entity_length", "pos_encoding")


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """The reversal gap, loss of the unseen sentences minus training loss after the last epoch, at
    every grid point; 0 would be no curse. A heat map for each family, and for each value of what
    has no place in rows and columns; numbers are mean and standard deviation over seeds."""
    gap = pl.col("unseen_nll_token") - pl.col("train_nll_token")  # after the last epoch, in nats
    gaps = final_by_seed(tables["metrics"]).with_columns(gap=gap, learned=LEARNED)
    varied = grouping.varying_settings(gaps)
    down = [name for name in ROWS if name in varied]
    across = [name for name in COLUMNS if name in varied]
    outer = [name for name in varied if name not in (*down, *across)]
    for place in (across, down):  # what else varies fills a side that is empty
        others = [name for name in outer if name not in ("family", "task")]
        if not place and others:
            place.append(others[-1])
            outer.remove(others[-1])
    parts = grouping.split_points(gaps, outer)
    rows = [_split(part, down) for _, part in parts]
    columns = [[label for label, _ in _split(part, across)] for _, part in parts]
    heights, width = [len(by_row) for by_row in rows], max(map(len, columns))
    size = (max(width * 0.85 + 2.4, 5.4), sum(heights) * 0.36 + len(parts) * 1.15 + 0.5)
    figure, grid = style.new_figure(*size, len(parts), height_ratios=heights)
    finite = gaps.filter(pl.col("gap").is_finite())
    top = max([1.0, *finite.group_by("run").agg(pl.col("gap").mean())["gap"]])
    for ax, (label, _), by_row, names in zip(grid.flat, parts, rows, columns, strict=True):
        # Equal cells in every panel: short grids do not stretch over the width of long ones.
        mean = np.full((len(by_row), width), np.nan)
        for row, (_, table) in enumerate(by_row):
            for name, cell in _split(table, across):
                place = row, names.index(name)
                mean[place], text = _summary(cell)
                colour = "white" if mean[place] <= 0.55 * top else "black"
                font = {"ha": "center", "va": "center", "fontsize": 6.5}
                ax.text(place[1], row, text, color=colour, **font)
        image = ax.imshow(mean, cmap="viridis", vmin=0, vmax=top, aspect="auto")
        ax.set_title(label or "all grid points", loc="left", fontweight="bold")
        ax.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names])
        ax.set_yticks(range(len(by_row)), [name for name, _ in by_row])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    figure.colorbar(image, ax=grid, label="reversal gap (nats)", shrink=0.6, pad=0.02)
    note = (
        "reversal gap: loss of the unseen direction minus training loss, first answer token,\n"
        f"after the last epoch; mean ± standard deviation over {grouping.seed_phrase(gaps)}; "
        "0: no curse\n*: training sentences not learned by some seeds"
    )
    return style.finish(figure, [], note)  # panels have titles in place of letters


def _split(table: pl.DataFrame, settings: list[str]) -> list[tuple[str, pl.DataFrame]]:
    """Split a table by those of the settings that have a value in it."""
    return grouping.split_points(table, [s for s in settings if grouping.values_of(table, s)])


def _summary(gaps: pl.DataFrame) -> tuple[float, str]:
    """Return the mean gap of one grid point (NaN if every seed diverged), and its text."""
    kept, diverged = grouping.without_diverged(gaps, "gap")
    lines = [f"{diverged} of {gaps.height}\ndiverged"] if diverged else []
    if kept.is_empty():
        return np.nan, lines[0]
    star = "" if kept["learned"].all() else "*"
    mean = kept.select(pl.col("gap").mean()).item()
    return mean, "\n".join([grouping.mean_and_spread(kept["gap"]) + star, *lines])

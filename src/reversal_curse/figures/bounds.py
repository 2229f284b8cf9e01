"""Bounds on the one-layer transformer over training: Zhu et al. 2024, section 4.

Seen: `1 - p <= (M - 1) (M eta_Y t / N)^-c`. Held out: `p <= 1 / M`.
"""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reversal_curse.figures import style
from reversal_curse.figures.grouping import seed_phrase, split_points
from reversal_curse.tables.summaries import one_layer_bounds

TITLES = {
    "reversal": ("seen direction", "direction held out"),
    "chain": ("A → B and B → C", "A ⇝ C held out"),
}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Bounds on the one-layer transformer over training, a row for each task. Left: 1 - p of what
    is trained. Right: M p of what is held out."""
    bounds = one_layer_bounds(tables["sentence_nll"])
    rows = split_points(bounds, ["task"])
    size = (2.7 * style.PANEL_WIDTH, (len(rows) + 0.25) * 1.1 * style.PANEL_HEIGHT)
    figure, grid = style.new_figure(*size, len(rows), 2)
    colours = style.shades(sorted(bounds["tokens"].unique()))
    for (seen, held_out), (name, table) in zip(grid, rows, strict=True):
        for _, point in split_points(table, ["tokens"]):
            colour = colours[point["tokens"][0]]
            _draw_seen(seen, point.filter(pl.col("split") == "train"), colour)
            _draw_worst(held_out, point.filter(pl.col("split") == "unseen"), "ratio", colour)
        held_out.axhline(1, color=style.REFERENCE, ls=style.DASHES, lw=1)
        seen.set_yscale("log")
        seen.set(ylim=(None, 2), ylabel="1 − p of the answer")
        if seen.get_legend_handles_labels()[0]:
            seen.legend(loc="lower left")
        if table.filter(pl.col("split") == "unseen")["ratio"].lt(0.9).any():
            held_out.set_yscale("log")
        else:
            held_out.set_ylim(0, 1.25)
        held_out.set_ylabel("M p of the answer")
        titles = TITLES.get(table["task"][0], ("trained", "held out"))
        for ax, title in zip((seen, held_out), titles, strict=True):
            ax.set_title(f"{name}: {title}" if name else title)
            ax.set_xscale("log")
    for ax in grid[-1]:
        ax.set_xlabel("visits of every sentence, t / N")
    handles = [style.key(f"M = {number}", colour) for number, colour in colours.items()]
    handles.append(style.key("bound of the theory", style.REFERENCE, ls=style.DASHES))
    note = (
        "facts of which one sentence is held out; line: worst sentence, mean of "
        f"{seed_phrase(bounds)}\n"
        "bounds: left, 1 − p ≤ (M − 1) (M η t / N)$^{-c}$ with the largest c that holds for all t, "
        "η the learning rate of Y; right, M p ≤ 1"
    )
    style.finish(figure, grid.flat, note, handles)
    return figure


def _draw_seen(ax: Axes, table: pl.DataFrame, colour: object) -> None:
    """1 - p of the worst sentence, and the bound with the largest c that holds at every step."""
    _draw_worst(ax, table, "missing", colour)
    table = table.drop_nulls("exponent")
    if table.is_empty():
        return
    c = table.select(pl.col("exponent").min()).item()
    line = table.unique("epoch").sort("epoch")
    bound = ((line["tokens"] - 1) * line["progress"] ** -c).to_numpy()
    last = table.filter(pl.col("epoch") == pl.col("epoch").max())["exponent"].min()
    label = f"c = {c:.2f}; at the end {last:.2f}"
    ax.plot(line["epoch"], bound, color=colour, ls=style.DASHES, lw=1, label=label)


def _draw_worst(ax: Axes, table: pl.DataFrame, column: str, colour: object) -> None:
    by_seed = table.group_by("seed", "epoch").agg(pl.col(column).max())
    mean = by_seed.group_by("epoch").agg(pl.col(column).mean()).sort("epoch")
    ax.plot(mean["epoch"], mean[column], color=colour)

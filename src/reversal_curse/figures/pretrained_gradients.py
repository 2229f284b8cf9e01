"""Alignment of forward and reverse gradients of pretrained models: Jeon et al. 2026."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reversal_curse.figures import style
from reversal_curse.figures.grouping import models_of
from reversal_curse.figures.marks import draw_groups, frame_change

STAGES = ("before", "after")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
NOTE = (
    "cosine of the gradients of one fact, forward (masked: of the subject in the forward sentence; "
    "autoregressive: of the object) and reverse, mean over at most five facts; dots: runs of the "
    "fine-tuning, crosses: the reverse\nquestion with another fact's answer; c: change of the "
    "reverse loss by a step along the forward gradient that lowers the forward loss by 1 %; only "
    "where weights are float32; dashed: equal"
)


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Cosine of forward and reverse gradients of pretrained models by group of parameters, before
    and after fine-tuning; and the change of the reverse loss by a forward step, predicted and
    actual."""
    models = models_of(tables["pretrained_gradients"])
    marked = [
        (rows, style.KIND_COLOURS[kind], MARKERS[i % len(MARKERS)])
        for i, (_, kind, rows) in enumerate(models)
    ]
    size = (4.4 * style.PANEL_WIDTH, 1.4 * style.PANEL_HEIGHT + 0.9)
    figure, grid = style.new_figure(*size, 1, 3, width_ratios=(1.3, 1.3, 1))
    *by_stage, change = grid[0]
    by_stage[1].sharey(by_stage[0])  # before anything is drawn: later it takes the limits as well
    for ax, stage in zip(by_stage, STAGES, strict=True):
        drawn = [(rows.filter(pl.col("stage") == stage), c, m) for rows, c, m in marked]
        draw_groups(ax, drawn, 0.3, ms=3.5, mew=0.8)
        ax.set_title(f"{stage} fine-tuning")
    by_stage[0].set_ylabel("cosine of forward and reverse gradient")
    _draw_change(change, marked)
    handles = [
        style.key(name, colour, marker=marker, ls="")
        for (name, *_), (_, colour, marker) in zip(models, marked, strict=True)
    ]
    style.finish(figure, grid[0], NOTE, handles, columns=4)
    return figure


def _draw_change(ax: Axes, marked: list[tuple[pl.DataFrame, str, str]]) -> None:
    largest = 1e-3
    for rows, colour, marker in marked:
        whole = rows.filter(pl.col("group") == "all").drop_nulls("actual_change")
        for stage, filled in zip(STAGES, ("none", colour), strict=True):
            part = whole.filter(pl.col("stage") == stage)
            x, y = part["predicted_change"], part["actual_change"]
            ax.plot(x, y, marker, ms=4, mec=colour, mfc=filled, ls="")
        largest = max(largest, whole.select(pl.col("predicted_change").abs().max()).item() or 0)
    frame_change(ax, [-largest, largest], "nats per token", zorder=2)
    ax.tick_params(axis="x", rotation=30)

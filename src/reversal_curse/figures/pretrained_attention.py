"""Correlation of forward and reverse attention scores by layer and head of pretrained models."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reversal_curse.figures import style
from reversal_curse.figures.grouping import models_of
from reversal_curse.figures.style import REFERENCE
from reversal_curse.tables.pretrained_summaries import head_correlations

NOTE = (
    "scores of the masked subject for the known object, in the forward sentence and in the reverse "
    "one, before the softmax;\ncorrelation over facts without the means of their relation and "
    "subject length;\nnull: facts shuffled among those; mean over runs of the fine-tuning"
)


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Correlation over facts of forward and reverse attention scores by layer and head, a row for
    each pretrained model: left before, right after fine-tuning."""
    if tables["pretrained_scores"].is_empty():
        size = (2 * style.PANEL_WIDTH, 0.6 * style.PANEL_HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        text = "None of these models has a masked token that looks at what comes after it."
        figure.text(0.5, 0.5, text, ha="center", va="center", color=REFERENCE, wrap=True)
        return figure
    models = models_of(head_correlations(tables["pretrained_scores"]))
    size = (2.8 * style.PANEL_WIDTH, len(models) * style.PANEL_HEIGHT + 0.9)
    figure, grid = style.new_figure(*size, len(models), 2, sharey=True)
    for row, (model, kind, table) in zip(grid, models, strict=True):
        for ax, stage in zip(row, ("before", "after"), strict=True):
            _draw_panel(ax, table.filter(pl.col("stage") == stage), style.KIND_COLOURS[kind])
            ax.set_title(f"{model}, {stage} fine-tuning")
        row[0].set_ylabel("correlation of S$_{fwd}$, S$_{rev}$")
    for ax in grid[-1]:
        ax.set_xlabel("layer")
    handles = [
        style.key("a head", marker="o", ls="", ms=3),
        style.key("mean over heads", lw=1.5),
        Patch(color=REFERENCE, alpha=0.25, lw=0, label="95 % of the permutation null, mean"),
    ]
    style.finish(figure, grid.flat, NOTE, handles)
    return figure


def _draw_panel(ax: Axes, table: pl.DataFrame, colour: str) -> None:
    if table.is_empty():
        ax.text(0.5, 0.5, "not fine-tuned", transform=ax.transAxes, ha="center", color=REFERENCE)
        ax.set_xticks([])
        return
    means = pl.col("correlation", "null_low", "null_high").mean()
    heads = table.group_by("layer", "head").agg(means).sort("layer", "head")
    layers = heads.group_by("layer").agg(means).sort("layer")
    ax.plot(heads["layer"], heads["correlation"], "o", color=colour, ms=2.5, mew=0, alpha=0.5)
    edges = [edge for layer in layers["layer"] for edge in (layer - 0.5, layer + 0.5)]
    low, high = (layers[name].to_numpy().repeat(2) for name in ("null_low", "null_high"))
    ax.fill_between(edges, low, high, color=REFERENCE, alpha=0.25, lw=0)
    marker = "_" if layers.height == 1 else None
    ax.plot(layers["layer"], layers["correlation"], color=colour, lw=1.5, marker=marker, ms=12)
    ax.axhline(0, color=REFERENCE, lw=0.6)
    ax.set_ylim(-1.05, 1.05)
    ax.set_xticks(layers["layer"][:: 1 + layers.height // 12])

"""What weight decay does to training and to the unseen direction: Zhu et al. 2024, settings."""

import math
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.config.settings import NAMES, settings_of
from reversal_curse.families import batch_steps
from reversal_curse.figures import grouping, style
from reversal_curse.tables.summaries import LAST

PANELS = {
    "nll_token": "negative log-likelihood (nats)",
    "accuracy": "accuracy, all tokens (said)",
    "rank_choice": "rank among candidates (known)",
}
RELATIONAL = {
    "accuracy": "accuracy, all tokens (said)",
    "accuracy_choice": "accuracy among candidates (known)",
}
GUESS = {
    "nll_token": pl.col("chance_class"),
    "rank_choice": pl.lit(0.5),
    "accuracy_choice": pl.col("chance_accuracy").filter(split="unseen"),
}
PRINTED = 0.01 * 0.9 * 3000 * math.ceil(340 / 64)  # as the paper prints its settings
OFFICIAL = 0.01 * 0.01 * 3000 * math.ceil(340 / 64)  # as its code runs
TOGETHER = ("learning_rate", "weight_decay", "epochs", "batch_size")  # what the axis is made of


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss (left), accuracy among all tokens (middle), and rank of the right answer among the
    candidates (right) after training, against all the decay of a training: rate times decay times
    steps, the logarithm of how much it shrinks a weight by itself."""
    paper = f"the paper's code ({OFFICIAL:.1f}), its printed settings ({PRINTED:.0f})"
    return _draw(tables["metrics"], PANELS, {paper: (OFFICIAL, PRINTED)})


def draw_relational(tables: dict[str, pl.DataFrame]) -> Figure:
    """Accuracy of the inverses that are withheld but follow from other facts, among all tokens
    (left) and among the candidates (right), after training, against all the decay of a training:
    rate times decay times steps. A row for each of the other settings."""
    return _draw(tables["metrics"], RELATIONAL, {})


def _draw(
    metrics: pl.DataFrame, panels: dict[str, str], places: dict[str, tuple[float, ...]]
) -> Figure:
    total = pl.struct(NAMES)
    last = metrics.filter(LAST)
    last = last.with_columns(total=total.map_elements(_total, return_dtype=pl.Float64))
    others = [name for name in grouping.varying_settings(last) if name not in TOGETHER]
    rows = grouping.split_points(last, others)
    width, height = 1.15 * style.PANEL_WIDTH, 1.15 * style.PANEL_HEIGHT
    size = (len(panels) * width, len(rows) * height + 0.8)
    figure, grid = style.new_figure(*size, len(rows), len(panels))
    names = style.split_names(last)
    for axes, (label, table) in zip(grid, rows, strict=True):
        for ax, (value, name) in zip(axes, panels.items(), strict=True):
            ax.set_xscale("symlog", linthresh=0.01)  # first: it decides the limits
            for split, colour in style.COLOURS.items():
                part = table.filter(split=split)
                line = part.group_by("total").agg(mean=pl.col(value).mean()).sort("total")
                ax.plot(line["total"], line["mean"], color=colour)
                look: dict[str, Any] = {"ms": 3.6, "alpha": 0.5, "mec": "white", "mew": 0.4}
                marker = style.SPLIT_MARKERS[split]
                ax.plot(part["total"], part[value], marker, color=colour, **look)
            if value in GUESS:
                level = table.select(GUESS[value].mean()).item()
                dotted = style.CHANCES["chance_class"][1]
                ax.axhline(level, color=style.REFERENCE, lw=0.8, ls=dotted)
            for place in (place for both in places.values() for place in both):
                ax.axvline(place, color=style.REFERENCE, lw=0.8, ls=style.DASHES, zorder=0)
            ax.set(xlabel="rate × decay × steps (linear up to 0.01)", ylabel=name, title=label)
    handles = [
        style.key(names[split], colour, marker=style.SPLIT_MARKERS[split])
        for split, colour in style.COLOURS.items()
    ]
    levels = {"guess": style.CHANCES["chance_class"][1], **dict.fromkeys(places, style.DASHES)}
    handles += [style.key(name, style.REFERENCE, lw=0.8, ls=line) for name, line in levels.items()]
    note = f"dots: {grouping.seed_phrase(last)}; line: mean"
    return style.finish(figure, grid.flat, note, handles)


def _total(point: dict[str, Any]) -> float:
    """Return rate times decay times steps."""
    steps = batch_steps(settings_of(point))
    return point["learning_rate"] * point["weight_decay"] * steps

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
    "accuracy_choice": "accuracy among candidates (known)",
    "rank_choice": "rank among candidates (known)",
}
GUESS = {
    "nll_token": pl.col("chance_class").first(),
    "accuracy_choice": pl.col("chance_accuracy").filter(pl.col("split") == "unseen").mean(),
    "rank_choice": pl.lit(0.5),
}
PRINTED = 0.01 * 0.9 * 3000 * math.ceil(340 / 64)  # as the paper prints its settings
OFFICIAL = 0.01 * 0.01 * 3000 * math.ceil(340 / 64)  # as its code runs


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss, accuracy among all tokens and among the candidates, and rank of the right answer among
    the candidates after training, against all the decay of a training: rate times decay times
    steps, the logarithm of how much it shrinks a weight by itself."""
    last = tables["metrics"].filter(LAST)
    total = pl.struct(NAMES)
    last = last.with_columns(total=total.map_elements(_total, return_dtype=pl.Float64))
    size = (4 * 1.15 * style.PANEL_WIDTH, 1.15 * style.PANEL_HEIGHT + 0.8)
    figure, [panels] = style.new_figure(*size, 1, 4)
    of_paper = set(last["task"]) == {"reversal"}
    names = style.split_names(last)
    for ax, (value, label) in zip(panels, PANELS.items(), strict=True):
        ax.set_xscale("symlog", linthresh=0.01)  # first: it decides the limits
        for split, colour in style.COLOURS.items():
            rows = last.filter(split=split)
            line = rows.group_by("total").agg(pl.col(value).mean()).sort("total")
            ax.plot(line["total"], line[value], color=colour)
            look: dict[str, Any] = {"ms": 3.6, "alpha": 0.5, "mec": "white", "mew": 0.4}
            ax.plot(rows["total"], rows[value], style.SPLIT_MARKERS[split], color=colour, **look)
        if value in GUESS:
            level = last.select(GUESS[value]).item()
            ax.axhline(level, color=style.REFERENCE, lw=0.8, ls=style.CHANCES["chance_class"][1])
        for place in (OFFICIAL, PRINTED) if of_paper else ():
            ax.axvline(place, color=style.REFERENCE, lw=0.8, ls=style.DASHES, zorder=0)
        ax.set(xlabel="rate × decay × steps (linear up to 0.01)", ylabel=label)
    handles = [
        style.key(names[split], colour, marker=style.SPLIT_MARKERS[split])
        for split, colour in style.COLOURS.items()
    ]
    levels: dict[str, Any] = {"guess": style.CHANCES["chance_class"][1]}
    if of_paper:
        shown = f"the paper's code ({OFFICIAL:.1f}), its printed settings ({PRINTED:.0f})"
        levels[shown] = style.DASHES
    handles += [style.key(name, style.REFERENCE, lw=0.8, ls=line) for name, line in levels.items()]
    note = f"dots: {grouping.seed_phrase(last)}; line: mean"
    return style.finish(figure, panels, note, handles)


def _total(point: dict[str, Any]) -> float:
    """Return rate times decay times steps."""
    steps = batch_steps(settings_of(point))
    return point["learning_rate"] * point["weight_decay"] * steps

"""Pretrained models, forward and reverse, before and after fine-tuning: Jeon et al. 2026."""

from __future__ import annotations

from itertools import product

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from reversal_curse.figures.dots import draw_dots
from reversal_curse.figures.pretrained_style import (
    KIND_COLOURS,
    KIND_NAMES,
    in_two_lines,
    models_of,
)
from reversal_curse.figures.style import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    REFERENCE,
    footnote,
    label_panels,
)
from reversal_curse.pretrained.analysis import answer_means

DIRECTIONS = {"forward": -0.21, "reverse": 0.21}  # with their offset
SHORT = {"forward": "fwd", "reverse": "rev"}
STAGES = {"before": -0.09, "after": 0.09}
BEFORE = "#999999"


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Left: loss of the right answer and of another fact's. Right: exact matches."""
    means = answer_means(tables["answers"])
    models = models_of(means)
    width = max(2.6, 0.75 * len(models) + 0.6) * PANEL_WIDTH
    figure = Figure(figsize=(width, 1.4 * PANEL_HEIGHT + 0.7), layout="constrained")
    loss, exact = figure.subplots(1, 2)
    for place, (_, kind, rows) in enumerate(models):
        for direction, stage in product(DIRECTIONS, STAGES):
            at = place + DIRECTIONS[direction] + STAGES[stage]
            cell = rows.filter(pl.col("direction") == direction, pl.col("stage") == stage)
            colour = BEFORE if stage == "before" else KIND_COLOURS[kind]
            for ax, value in ((loss, "nll"), (exact, "exact")):
                draw_dots(ax, at, cell[value], colour)
            control = cell["nll_shuffled"].mean()
            if control is not None:
                loss.plot(at, control, "x", color=REFERENCE, ms=4, mew=0.9)
        chance = rows["chance"].mean()
        loss.plot([place - 0.45, place + 0.45], [chance] * 2, color=REFERENCE, lw=0.8, ls="--")
    loss.set_yscale("symlog", linthresh=1)  # wrong answers cost up to a hundred nats
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _finish(loss, models, "negative log-likelihood (nats per token)")
    _finish(exact, models, "answers that are right in every token (fraction)")
    label_panels([loss, exact])
    kinds = dict.fromkeys(kind for _, kind, _ in models)
    handles = [Line2D([], [], color=BEFORE, lw=2, label="before fine-tuning")]
    handles += [
        Line2D([], [], color=KIND_COLOURS[kind], lw=2, label=f"after: {KIND_NAMES[kind]}")
        for kind in kinds
    ]
    handles.append(
        Line2D([], [], color=REFERENCE, marker="x", ls="", label="another fact's answer")
    )
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    footnote(
        figure,
        "asked forward and in reverse, before and after fine-tuning on the forward statements "
        "alone; mean over facts\ndots: runs of the fine-tuning, bars: their mean; dashed: guess "
        "among all tokens",
    )
    return figure


def _finish(ax: Axes, models: list, name: str) -> None:
    ax.set_xticks(range(len(models)), [f"\n{in_two_lines(model)}" for model, _, _ in models])
    ax.tick_params(axis="x", length=0)
    asked = [(place + at, name) for place in range(len(models)) for name, at in DIRECTIONS.items()]
    ax.set_xticks(
        [at for at, _ in asked], [SHORT[name] for _, name in asked], minor=True, fontsize=6
    )
    ax.set_xlim(-0.6, len(models) - 0.4)
    ax.set_ylim(bottom=-0.05)  # dots at 0 are seen whole
    ax.set_ylabel(name)

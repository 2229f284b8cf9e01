"""Pretrained models, forward and reverse, before and after fine-tuning: Jeon et al. 2026."""

from __future__ import annotations

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

PLACES = {  # direction, stage: offset and marker
    ("forward", "before"): (-0.3, "v"),
    ("forward", "after"): (-0.12, "^"),
    ("reverse", "before"): (0.12, "s"),
    ("reverse", "after"): (0.3, "o"),
}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Left: loss of the right answer and of another fact's. Right: exact matches."""
    means = answer_means(tables["answers"])
    models = models_of(means)
    width = max(2.6, 0.75 * len(models) + 0.6) * PANEL_WIDTH
    figure = Figure(figsize=(width, 1.4 * PANEL_HEIGHT + 0.7), layout="constrained")
    loss, exact = figure.subplots(1, 2)
    for place, (_, kind, rows) in enumerate(models):
        for (direction, stage), (offset, marker) in PLACES.items():
            cell = rows.filter(pl.col("direction") == direction, pl.col("stage") == stage)
            for ax, value in ((loss, "nll"), (exact, "exact")):
                draw_dots(ax, place + offset, cell[value], KIND_COLOURS[kind], marker)
            control = cell["nll_shuffled"].mean()
            if control is not None:
                loss.plot(place + offset, control, "x", color=REFERENCE, ms=4, mew=0.9)
        chance = rows["chance"].mean()
        loss.plot([place - 0.45, place + 0.45], [chance] * 2, color=REFERENCE, lw=0.8, ls="--")
    loss.set_yscale("symlog", linthresh=1)  # wrong answers cost up to a hundred nats
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _finish(loss, models, "negative log-likelihood (nats per token)")
    _finish(exact, models, "answers that are right in every token (fraction)")
    label_panels([loss, exact])
    kinds = dict.fromkeys(kind for _, kind, _ in models)
    handles = [
        Line2D([], [], color=KIND_COLOURS[kind], lw=2, label=KIND_NAMES[kind]) for kind in kinds
    ]
    handles += [
        Line2D([], [], color="black", marker=marker, ls="", label=f"{direction}, {stage}")
        for (direction, stage), (_, marker) in PLACES.items()
    ]
    handles.append(
        Line2D([], [], color=REFERENCE, marker="x", ls="", label="another fact's answer")
    )
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    footnote(
        figure,
        "before and after fine-tuning on the forward statements alone; mean over facts; dots: runs "
        "of the fine-tuning, bars: their mean; dashed: guess among all tokens",
    )
    return figure


def _finish(ax: Axes, models: list, name: str) -> None:
    ax.set_xticks(range(len(models)), [in_two_lines(model) for model, _, _ in models])
    ax.set_xlim(-0.6, len(models) - 0.4)
    ax.set_ylim(bottom=-0.05)  # dots at 0 are seen whole
    ax.set_ylabel(name)

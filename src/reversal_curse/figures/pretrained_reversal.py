"""Pretrained models, forward and reverse, before and after fine-tuning: Jeon et al. 2026."""

from itertools import product

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from reversal_curse.figures import style
from reversal_curse.figures.grouping import models_of
from reversal_curse.figures.marks import draw_dots
from reversal_curse.figures.style import KIND_COLOURS, REFERENCE
from reversal_curse.tables.pretrained_summaries import answer_means

DIRECTIONS = {"forward": -0.21, "reverse": 0.21}  # with their offset
STAGES = {"before": -0.09, "after": 0.09}
KIND_NAMES = {
    "masked_diffusion": "masked diffusion",
    "masked_lm": "masked language model",
    "causal": "autoregressive",
}
NOTE = (
    "asked forward and in reverse, before and after fine-tuning on the forward statements alone; "
    "mean over facts\ndots: runs of the fine-tuning, bars: their mean; dashed: guess among all "
    "tokens"
)


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Pretrained models asked forward and in reverse, before and after fine-tuning. Left: loss of
    the right answer and of another fact's. Right: exact matches."""
    models = models_of(answer_means(tables["pretrained_answers"]))
    width = max(2.6, 0.75 * len(models) + 0.6) * style.PANEL_WIDTH
    figure, [[loss, exact]] = style.new_figure(width, 1.4 * style.PANEL_HEIGHT + 0.7, 1, 2)
    for place, (_, kind, rows) in enumerate(models):
        for direction, stage in product(DIRECTIONS, STAGES):
            at = place + DIRECTIONS[direction] + STAGES[stage]
            cell = rows.filter(pl.col("direction") == direction, pl.col("stage") == stage)
            colour = style.BEFORE if stage == "before" else KIND_COLOURS[kind]
            for ax, value in ((loss, "nll"), (exact, "exact")):
                draw_dots(ax, at, cell[value], colour)
            control = cell["nll_shuffled"].mean()
            if control is not None:
                loss.plot(at, control, "x", color=REFERENCE, ms=4, mew=0.9)
        chance = rows["chance"].mean()
        loss.plot([place - 0.45, place + 0.45], [chance] * 2, color=REFERENCE, lw=0.8, ls="--")
    loss.set_yscale("symlog", linthresh=1)  # wrong answers cost up to a hundred nats
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _name_axes(loss, models, "negative log-likelihood (nats per token)")
    _name_axes(exact, models, "answers that are right in every token (fraction)")
    names = {f"after: {KIND_NAMES[kind]}": KIND_COLOURS[kind] for _, kind, _ in models}
    lines = {"before fine-tuning": style.BEFORE, **names}
    handles = [style.key(name, colour, lw=2) for name, colour in lines.items()]
    handles.append(style.key("another fact's answer", REFERENCE, marker="x", ls=""))
    style.finish(figure, [loss, exact], NOTE, handles)
    return figure


def _name_axes(ax: Axes, models: list, name: str) -> None:
    ax.set_xticks(range(len(models)), [f"\n{_in_two_lines(model)}" for model, _, _ in models])
    ax.tick_params(axis="x", length=0)
    places = [place + at for place in range(len(models)) for at in DIRECTIONS.values()]
    ax.set_xticks(places, ["fwd", "rev"] * len(models), minor=True, fontsize=6)
    # Dots at 0 are seen whole.
    ax.set(xlim=(-0.6, len(models) - 0.4), ylim=(-0.05, None), ylabel=name)


def _in_two_lines(name: str) -> str:
    """Break a long name at an underscore near its middle."""
    breaks = [i for i, letter in enumerate(name) if letter == "_"]
    if len(name) <= 12 or not breaks:
        return name
    middle = min(breaks, key=lambda i: abs(i - len(name) / 2))
    return f"{name[:middle]}\n{name[middle + 1 :]}"

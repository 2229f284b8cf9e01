"""Loss against epoch, one panel per grid point: Zhu et al. 2024, figures 1, 5, 8, 10."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reversal_curse.figures import style
from reversal_curse.figures.grouping import seed_phrase, split_points, without_diverged
from reversal_curse.figures.marks import draw_chance, draw_mean_and_band

WORD_STYLE = (0, (4, 1.5))
LONG_TITLE = 32  # characters; longer ones take two lines


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss of the training sentences and of the unseen ones against the epoch, a panel for each
    grid point: mean over seeds with a band of one standard deviation, and both chance levels."""
    return _panels(tables["metrics"])


def draw_with_words(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss of the training sentences and of the unseen ones against the epoch, a panel for each
    grid point: solid for the first token of the answer, dashed for the whole answer; mean over
    seeds with a band of one standard deviation, and both chance levels."""
    return _panels(tables["metrics"], with_words=True)


def _panels(metrics: pl.DataFrame, with_words: bool = False) -> Figure:
    panels = split_points(metrics)
    single = len(panels) == 1
    width = 1.55 * style.PANEL_WIDTH if single else style.PANEL_WIDTH
    height = (1.35 if single or with_words else 1.0) * style.PANEL_HEIGHT
    figure, axes = style.panel_grid(len(panels), width, height, (0, 0.55), sharex=True, sharey=True)
    for ax, (label, all_seeds) in zip(axes, panels, strict=True):
        table, diverged = without_diverged(all_seeds, "nll_token")
        if diverged:
            label = f"{label}\n{diverged} of {all_seeds['seed'].n_unique()} seeds diverged"
        draw_nll(ax, table, "nll_token")
        if with_words:
            draw_nll(ax, table, "nll_word", WORD_STYLE)
        draw_chance(ax, all_seeds)
        ax.set_title(label.replace(", ", ",\n", 1) if len(label) > LONG_TITLE else label)
    axes[0].set_ylim(bottom=0)  # shared, so only once every panel is drawn
    axes[0].set_xlim(0, metrics.select(pl.col("epoch").max()).item())
    for ax in axes[-style.MAX_COLUMNS :]:
        ax.set_xlabel("epoch")
        ax.tick_params(labelbottom=True)
    for ax in axes[:: style.MAX_COLUMNS]:
        ax.set_ylabel("negative log-likelihood (nats)")
    handles = _handles(with_words, style.split_names(metrics["task"].unique().to_list()))
    note = f"line: mean of {seed_phrase(metrics)}; band: one standard deviation"
    note += _chance_levels(metrics) if with_words else ""
    style.finish(figure, axes, note, handles, columns=2 if len(handles) < 6 else 3)
    return figure


def _chance_levels(metrics: pl.DataFrame) -> str:
    """What the chance levels are of; a class may be known by a token that its words share."""
    if set(metrics["task"]) == {"chain_related"}:
        return "\nchance, vocabulary: of one token; chance, entity class: of the whole word"
    return "; chance levels: of one token"


def draw_nll(ax: Axes, table: pl.DataFrame, column: str, line: object = "-") -> None:
    """Mean and standard deviation over seeds of one loss column, for both splits."""
    for split, colour in style.COLOURS.items():
        part = table.filter(pl.col("split") == split)
        width = 2.2 if split == "train" else 1.2  # both show where they coincide
        draw_mean_and_band(ax, part, column, color=colour, ls=line, lw=width)


def _handles(with_words: bool, names: dict[str, str]) -> list[Line2D]:
    handles = [style.key(name, style.COLOURS[split]) for split, name in names.items()]
    if with_words:
        handles += [style.key("first token"), style.key("whole entity", ls=WORD_STYLE)]
    chances = {"chance, vocabulary": (0, (5, 2)), "chance, entity class": (0, (1, 1.5))}
    return handles + [style.key(n, style.REFERENCE, lw=0.8, ls=ls) for n, ls in chances.items()]

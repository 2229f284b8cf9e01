"""Loss against epoch, one panel per grid point: Zhu et al. 2024, figures 1, 5, 8, 10."""

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures import grouping, marks, style

WORD_STYLE = (0, (4, 1.5))
LONG_TITLE = 32  # characters; longer ones take two lines


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss of the training sentences and of the unseen ones against the epoch, a panel for each
    grid point: mean over seeds with a band of one standard deviation, and both chance levels."""
    return _panels(tables["metrics"], {"nll_token": "-"})


def draw_with_words(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss of the training sentences and of the unseen ones against the epoch, a panel for each
    grid point: solid for the first token of the answer, dashed for the whole answer; mean over
    seeds with a band of one standard deviation, and both chance levels."""
    return _panels(tables["metrics"], {"nll_token": "-", "nll_word": WORD_STYLE})


def _panels(metrics: pl.DataFrame, losses: dict) -> Figure:
    """Draw the columns `losses`, each with its line style."""
    panels = grouping.split_points(metrics)
    single, with_words = len(panels) == 1, "nll_word" in losses
    wide = 1.55 * style.PANEL_WIDTH if single else style.PANEL_WIDTH
    high = (1.35 if single or with_words else 1.0) * style.PANEL_HEIGHT
    figure, axes = style.panel_grid(len(panels), wide, high, (0, 0.55), sharex=True, sharey=True)
    for ax, (label, all_seeds) in zip(axes, panels, strict=True):
        table, diverged = grouping.without_diverged(all_seeds, "nll_token")
        if diverged:
            label = f"{label}\n{diverged} of {all_seeds['seed'].n_unique()} seeds diverged"
        for column, line in losses.items():
            for split, colour in style.COLOURS.items():
                part = table.filter(split=split)
                width = 2.2 if split == "train" else 1.2  # so that both show where they coincide
                marks.draw_mean_and_band(ax, part, column, color=colour, ls=line, lw=width)
        marks.draw_chance(ax, all_seeds)
        ax.set_title(label.replace(", ", ",\n", 1) if len(label) > LONG_TITLE else label)
    axes[0].set_ylim(bottom=0)  # shared, so only once every panel is drawn
    axes[0].set_xlim(0, metrics.select(pl.col("epoch").max()).item())
    for ax in axes[-style.MAX_COLUMNS :]:
        ax.set_xlabel("epoch")
        ax.tick_params(labelbottom=True)
    for ax in axes[:: style.MAX_COLUMNS]:
        ax.set_ylabel("negative log-likelihood (nats)")
    names = style.split_names(metrics)
    handles = [style.key(name, style.COLOURS[split]) for split, name in names.items()]
    note = f"line: mean of {grouping.seed_phrase(metrics)}; band: one standard deviation"
    if with_words:
        handles += [style.key("first token"), style.key("whole entity", ls=WORD_STYLE)]
        # With shared tokens, the first one may not tell the class; the whole word does.
        if set(metrics["task"]) == {"chain_related"}:
            note += "\nchance, vocabulary: of one token; chance, entity class: of the whole word"
        else:
            note += "; chance levels: of one token"
    for name, line in style.CHANCES.values():
        handles.append(style.key(name, style.REFERENCE, lw=0.8, ls=line))
    return style.finish(figure, axes, note, handles, columns=2 if len(handles) < 6 else 3)

"""Loss and accuracy after training, by grid point and by masking arm: Jeon et al. 2026."""

from itertools import product
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reversal_curse.config.settings import in_words
from reversal_curse.families import FAMILIES
from reversal_curse.figures import grouping, marks, style
from reversal_curse.tables.summaries import LAST
from reversal_curse.tasks.masking_arms import MASKINGS

LOSS = "negative log-likelihood (nats)"
MEASURED = {
    "nll_token": LOSS,
    "accuracy": "accuracy, all tokens (said)",
    "accuracy_choice": "accuracy among candidates (known)",
}
# By column, the name, colour and marker of what a bridge changes.
BRIDGED = {
    "accuracy": ("said: accuracy, all tokens", style.COLOURS["unseen"], "o"),
    "accuracy_choice": ("known: accuracy among candidates", style.KNOWN, "D"),
    "echo": ("echo: an entity of the prompt is said", "#CC79A7", "s"),
}
CHANCE = "dashed: guess among all tokens; dotted: guess among the entities of the class"
FACTS_NAMES = {"train": "as trained", "unseen": "reverse query, B is ?"}
MASKING_NAMES = {"train": "A is ? (order as trained)", "unseen": "B is ? (reverse query)"}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss (left) of the training sentences and the unseen ones after the last epoch, accuracy of
    what is said (middle) and of the choice among possible answers (right), a column for each grid
    point and a colour for each family: dots are seeds, bars their mean, and green diamonds the part
    of the unseen loss that is which of the possible answers; the rest is that it is one of them.
    With many columns, the panels are one below the other."""
    last = tables["metrics"].filter(LAST)
    families = grouping.values_of(last, "family")
    settings = [name for name in grouping.varying_settings(last) if name != "family"]
    columns = grouping.split_points(last, settings)
    labels = [style.in_lines(label) for label, _ in columns]
    text = len(labels) * max(len(line) for label in labels for line in label.split("\n"))
    cells = len(columns) * len(families)
    stacked = max(6 * cells, text) > 60  # too much to be side by side
    width = max(11, 0.5 * cells + 1.5) if stacked else 11
    shape = (8.4, 3, 1) if stacked else (3.705, 1, 3)
    figure, grid = style.new_figure(width, *shape, sharex=stacked)
    panels = list(grid.flat)
    names = FACTS_NAMES if set(last["task"]) == {"facts"} else style.split_names(last)
    step = 0.38 / len(families)
    dots, handles = [], []
    for family, (split, marker) in product(families, style.SPLIT_MARKERS.items()):
        offset, colour = step * (len(dots) - len(families) + 0.5), FAMILIES[family].colour
        dots.append((offset, {"family": family, "split": split}, colour, marker))
        label = f"{in_words('family', family)}, {names[split]}"
        handles.append(style.key(label, colour, marker=marker, ls=""))
    for ax, (value, name) in zip(panels, MEASURED.items(), strict=True):
        _draw_columns(ax, columns, labels, value, dots)
        ax.set(ylabel=name, ylim=(-0.03 * ax.get_ylim()[1], None))  # so dots at 0 are not cut off
    named = panels[-1:] if stacked else panels
    style.turn_crowded(named, [style.in_two_lines(label, ", ") for label, _ in columns])
    known: dict[str, Any] = {"marker": "D", "ls": "", "mfc": "white", "mec": style.KNOWN, "ms": 4}
    for offset, shown, _, _ in dots[1::2]:  # of the unseen sentences
        for place, (_, column) in enumerate(columns):
            part = column.filter(**shown).select(pl.col("nll_choice").mean()).item()
            if part is not None:
                panels[0].plot(place + offset, part, **known)
    handles.append(style.key("unseen loss among candidates", **known))
    note = f"dots: {grouping.seed_phrase(last)}; bars: mean"
    if last.n_unique(list(style.CHANCES)) == 1:
        marks.draw_chance(panels[0], last)
        note += f"; {CHANCE}"
    if last.filter(split="unseen")["chance_accuracy"].n_unique() == 1:
        _draw_guess(panels[2], last)
        note += "; c, dashed: guess among the candidates"
    return style.finish(figure, panels, note, handles, columns=3)


def draw_bridge(tables: dict[str, pl.DataFrame]) -> Figure:
    """Whether the answer to the unseen questions is said, whether it is known which of the
    candidates it is, and whether an entity of the prompt is said instead (echo), after the last
    epoch by positional encoding, a panel for each model and bridge: dots are seeds, bars their
    mean."""
    last = tables["metrics"].filter(LAST)
    columns, varied = ["pos_encoding", "alignment"], grouping.varying_settings(last)
    models = ["family", "bridge"] if "family" in varied else ["bridge"]
    others = [name for name in varied if name not in (*columns, *models)]
    panels = grouping.split_points(last, models + others)
    size = (1.35 * style.PANEL_WIDTH, 1.3 * style.PANEL_HEIGHT)
    figure, axes = style.panel_grid(len(panels), *size, (0.3, 0.8), sharey=True)
    for ax, (label, table) in zip(axes, panels, strict=True):
        encodings = grouping.split_points(table, columns)
        names = [style.in_lines(name) for name, _ in encodings]
        for place, (value, (_, colour, marker)) in enumerate(BRIDGED.items()):
            dots = [(0.22 * (place - 1), {"split": "unseen"}, colour, marker)]
            _draw_columns(ax, encodings, names, value, dots)
        _draw_guess(ax, table)
        ax.set(title=style.in_two_lines(label, ", "), ylim=(-0.04, 1.04))
    style.turn_crowded(axes)
    for ax in filter(style.is_leftmost, axes):
        ax.set_ylabel("fraction of unseen questions")
    handles = [style.key(name, c, marker=m, ls="") for name, c, m in BRIDGED.values()]
    note = f"dots: {grouping.seed_phrase(last)}; bars: mean; dashed: guess among the candidates"
    return style.finish(figure, axes, note, handles)


def draw_masking(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss of the training sentences and of the unseen ones after the last epoch by the tokens that
    are ever masked, and below it the accuracy of the choice among possible answers, a column for
    each of the other settings: dots are seeds, bars their mean."""
    last = tables["metrics"].filter(LAST)
    others = [name for name in grouping.varying_settings(last) if name != "masking"]
    panels = grouping.split_points(last, others or ["pos_encoding"])
    across = min(len(panels), style.MAX_COLUMNS)
    down = -(-len(panels) // across)
    size = (1.3 * style.PANEL_WIDTH * across, 2.2 * style.PANEL_HEIGHT * down + 0.9)
    figure, grid = style.new_figure(*size, 2 * down, across, sharey="row")
    losses, choices = grid[::2], grid[1::2]
    for ax in (*losses.flat[len(panels) :], *choices.flat[len(panels) :]):
        ax.remove()
    dots, handles = [], []
    for offset, (split, name) in zip((-0.17, 0.17), MASKING_NAMES.items(), strict=True):
        colour, marker = style.COLOURS[split], style.SPLIT_MARKERS[split]
        dots.append((offset, {"split": split}, colour, marker))
        handles.append(style.key(name, colour, marker=marker, ls=""))
    for loss, known, (label, table) in zip(losses.flat, choices.flat, panels, strict=False):
        arms = grouping.split_points(table, ["masking"])
        words = [MASKINGS[arm["masking"][0]].label for _, arm in arms]
        words = [name.replace(" ", "\n", 1) if len(name) > 8 else name for name in words]
        for ax, value in ((loss, "nll_token"), (known, "accuracy_choice")):
            _draw_columns(ax, arms, words, value, dots)
        loss.set_title(label)
        known.set_xlabel("tokens of “A is B” that are ever masked")
        marks.draw_chance(loss, table)
        _draw_guess(known, table)
    for rows, name in ((losses, LOSS), (choices, MEASURED["accuracy_choice"])):
        for ax in filter(style.is_leftmost, rows.flat):
            ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])  # dots at 0 are seen whole
            ax.set_ylabel(name)
    style.turn_crowded(figure.axes)
    note = (
        f"dots: {grouping.seed_phrase(last)}; bars: mean; losses: {CHANCE}\n"
        "accuracy, dashed: guess among the candidates: answers of all questions of the same kind"
    )
    return style.finish(figure, figure.axes, note, handles)


def _draw_guess(ax: Axes, metrics: pl.DataFrame) -> None:
    """Draw the accuracy of a guess among the candidates of unseen questions."""
    level = metrics.filter(split="unseen").select(pl.col("chance_accuracy").mean()).item()
    ax.axhline(level, color=style.REFERENCE, lw=0.8, ls=style.DASHES, zorder=1)


def _draw_columns(ax: Axes, columns: list, names: list[str], value: str, dots: list) -> None:
    """Draw all `dots` (offset, selected rows, colour, marker) in every column, above its name."""
    ax.set_xticks(range(len(columns)), names)
    for place, (_, column) in enumerate(columns):
        for offset, shown, colour, marker in dots:
            marks.draw_dots(ax, place + offset, column.filter(**shown)[value], colour, marker)

"""Loss and accuracy after training, by grid point and by masking arm: Jeon et al. 2026."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reversal_curse.config.settings import in_words
from reversal_curse.figures import grouping, marks, style
from reversal_curse.tables.summaries import LAST
from reversal_curse.tasks.masking_arms import MASKINGS

LOSS = "negative log-likelihood (nats)"
CHANCE = "dashed: guess among all tokens; dotted: guess among the entities of the class"
FACTS_NAMES = {"train": "as trained, A is ?", "unseen": "reverse query, B is ?"}
MASKING_NAMES = {"train": "A is ? (order as trained)", "unseen": "B is ? (reverse query)"}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss (left) and accuracy (right) of the training sentences and of the unseen ones after the
    last epoch, a column for each grid point and a colour for each family: dots are seeds, bars
    their mean."""
    last = tables["metrics"].filter(LAST)
    families = grouping.values_of(last, "family")
    settings = [name for name in grouping.varying_settings(last) if name != "family"]
    columns = grouping.split_points(last, settings)
    width = max(8.84, 0.8 * len(columns) * len(families) + 1.5)
    figure, [[loss, accuracy]] = style.new_figure(width, 3.705, 1, 2)
    names = FACTS_NAMES if set(last["task"]) == {"facts"} else style.split_names(last)
    step = 0.38 / len(families)
    dots, handles = [], []
    for i, family in enumerate(families):
        colour = style.family_colour(family)
        for j, (split, marker) in enumerate(style.SPLIT_MARKERS.items()):
            offset = step * (2 * i + j - len(families) + 0.5)
            dots.append((offset, {"family": family, "split": split}, colour, marker))
            label = f"{in_words('family', family)}, {names[split]}"
            handles.append(style.key(label, colour, marker=marker, ls=""))
    labels = [name.replace(", ", "\n").replace(" positions", "\npositions") for name, _ in columns]
    long = max(len(line) for label in labels for line in label.split("\n")) * len(labels) > 60
    turned: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    for ax, value, name in ((loss, "nll_token", LOSS), (accuracy, "accuracy", "accuracy")):
        _draw_columns(ax, columns, value, dots)
        ax.set_xticks(range(len(columns)), labels, **(turned if long else {}))
        ax.set(ylabel=name, ylim=(-0.03 * ax.get_ylim()[1], None))  # so dots at 0 are not cut off
    note = f"dots: {grouping.seed_phrase(last)}; bars: mean"
    if last.n_unique(list(style.CHANCES)) == 1:
        marks.draw_chance(loss, last)
        note += f"; {CHANCE}"
    return style.finish(figure, [loss, accuracy], note, handles, columns=2)


def draw_masking(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss of the training sentences and of the unseen ones after the last epoch by the tokens that
    are ever masked, a panel for each of the other settings: dots are seeds, bars their mean."""
    last = tables["metrics"].filter(LAST)
    others = [name for name in grouping.varying_settings(last) if name != "masking"]
    panels = grouping.split_points(last, others or ["pos_encoding"])
    size = (1.3 * style.PANEL_WIDTH, 1.2 * style.PANEL_HEIGHT)
    figure, axes = style.panel_grid(len(panels), *size, (0, 0.7), sharey=True)
    dots, handles = [], []
    for offset, (split, name) in zip((-0.17, 0.17), MASKING_NAMES.items(), strict=True):
        colour, marker = style.COLOURS[split], style.SPLIT_MARKERS[split]
        dots.append((offset, {"split": split}, colour, marker))
        handles.append(style.key(name, colour, marker=marker, ls=""))
    for ax, (label, table) in zip(axes, panels, strict=True):
        arms = grouping.split_points(table, ["masking"])
        _draw_columns(ax, arms, "nll_token", dots)
        ax.set_xticks(range(len(arms)), [_arm_name(arm["masking"][0]) for _, arm in arms])
        ax.set(title=label, xlabel="tokens of “A is B” that are ever masked")
        marks.draw_chance(ax, table)
    axes[0].set_ylim(bottom=-0.03 * axes[0].get_ylim()[1])  # so dots at 0 are not cut off
    for ax in axes[:: style.MAX_COLUMNS]:
        ax.set_ylabel(LOSS)
    note = f"dots: {grouping.seed_phrase(last)}; bars: mean; {CHANCE}"
    return style.finish(figure, axes, note, handles)


def _draw_columns(ax: Axes, columns: list, value: str, dots: list) -> None:
    """Draw all `dots` (offset, selected rows, colour, marker) in every column."""
    for place, (_, column) in enumerate(columns):
        for offset, shown, colour, marker in dots:
            marks.draw_dots(ax, place + offset, column.filter(**shown)[value], colour, marker)


def _arm_name(arm: str) -> str:
    name = MASKINGS[arm].label if arm in MASKINGS else arm
    return name.replace(" ", "\n", 1) if len(name) > 8 else name

"""Loss and accuracy after training, at every grid point: Jeon et al. 2026."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reversal_curse.config.settings import in_words
from reversal_curse.figures import style
from reversal_curse.figures.grouping import seed_phrase, split_points, values_of, varying_settings
from reversal_curse.figures.marks import draw_chance, draw_dots
from reversal_curse.tables.summaries import final_values


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss (left) and accuracy (right) of the training sentences and of the unseen ones after the
    last epoch, a column for each grid point and a colour for each family: dots are seeds, bars
    their mean."""
    last = final_values(tables["metrics"])
    families = values_of(last, "family")
    settings = [name for name in varying_settings(last) if name != "family"]
    columns = split_points(last, settings)
    width = max(3.4 * style.PANEL_WIDTH, 0.8 * len(columns) * len(families) + 1.5)
    figure, [[loss, accuracy]] = style.new_figure(width, 1.35 * style.PANEL_HEIGHT + 0.6, 1, 2)
    _draw_panel(loss, columns, "nll_token", families)
    loss.set_ylabel("negative log-likelihood (nats)")
    _draw_panel(accuracy, columns, "accuracy", families)
    accuracy.set_ylabel("accuracy")
    chances = last.select("chance_vocab", "chance_class").unique()
    if chances.height == 1:
        draw_chance(loss, last)
    names = style.split_names(last["task"].unique().to_list())
    if set(last["task"]) == {"facts"}:
        names = {"train": "as trained, A is ?", "unseen": "reverse query, B is ?"}
    handles = [
        style.key(f"{in_words('family', f)}, {name}", style.family_colour(f), marker=marker, ls="")
        for f in families
        for name, marker in zip(names.values(), style.SPLIT_MARKERS.values(), strict=True)
    ]
    chance = "dashed: guess among all tokens; dotted: guess among the entities of the class"
    note = f"dots: {seed_phrase(last)}; bars: mean"
    note = f"{note}; {chance}" if chances.height == 1 else note
    style.finish(figure, [loss, accuracy], note, handles, columns=2)
    return figure


def _draw_panel(ax: Axes, columns: list, value: str, families: list[str]) -> None:
    step = 0.38 / len(families)
    offsets = {
        (family, split): step * (2 * i + j - len(families) + 0.5)
        for i, family in enumerate(families)
        for j, split in enumerate(style.SPLIT_MARKERS)
    }
    for place, (_, column) in enumerate(columns):
        for (family, split), offset in offsets.items():
            cell = column.filter(pl.col("family") == family, pl.col("split") == split)
            look = style.family_colour(family), style.SPLIT_MARKERS[split]
            draw_dots(ax, place + offset, cell[value], *look)
    labels = [name.replace(", ", "\n").replace(" positions", "\npositions") for name, _ in columns]
    long = max(len(line) for label in labels for line in label.split("\n")) * len(labels) > 60
    turned: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(columns)), labels, **(turned if long else {}))
    ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])  # dots at 0 are seen whole

"""Logits of the answers, seen and unseen: Zhu et al. 2024, figures 2 and 4."""

from itertools import product

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures import grouping, style
from reversal_curse.tables.summaries import logit_contrast

READOUTS = {"entity": "entity alone", "entity_relation": "entity and relation"}
# For each task its rows of maps, and for each row the title of every group.
LAYOUTS = {
    "reversal": {
        "": {
            "train_forward": "train, A → B",
            "train_backward": "train, B ← A",
            "seen": "validation, seen direction",
            "unseen": "validation, unseen direction",
        }
    },
    "chain": {
        name: {f"{name}_a_to_b": "A → B", f"{name}_b_to_c": "B → C", f"{name}_a_to_c": "A ⇝ C"}
        for name in ("train", "validation")
    },
}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Logits of the candidates (columns) after each query (rows) at the end of training, for what
    is trained and for what is held out; right answers lie on the diagonal. Maps are of one seed,
    the numbers below them of all."""
    logits = tables["logits"]
    rows = []
    for label, table in grouping.split_points(logits):
        for (readout, words), (part, groups) in product(READOUTS.items(), _layout(table).items()):
            name = "\n".join(filter(None, [label, part, f"query: {words}"]))
            rows.append((name, table.filter(readout=readout), groups))
    columns = max(len(groups) for *_, groups in rows)
    size = (columns * 0.7 * style.PANEL_WIDTH + 0.9, len(rows) * 2.15 + 0.3)
    figure, axes = style.new_figure(*size, len(rows), columns)
    above: list[str] = []  # titles of the row above
    for row, (name, table, groups) in zip(axes, rows, strict=True):
        titles = list(groups.values())
        limits = {"vmin": table["logit"].min(), "vmax": table["logit"].max()}
        for ax in row[len(groups) :]:
            ax.set_visible(False)
        for ax, (group, title) in zip(row, groups.items(), strict=False):
            part = table.filter(group=group)
            one = part.filter(seed=part["seed"].min()).sort("query", "candidate")
            matrix = one["logit"].to_numpy().reshape(one["query"].n_unique(), -1)
            image = ax.imshow(matrix, cmap="viridis", **limits)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            found = logit_contrast(part)["contrast"]
            contrast = f"right − other: {grouping.mean_and_spread(found)}" if len(found) else ""
            ax.set_xlabel(contrast or "one candidate only", fontsize=style.points(7))
            if titles != above:
                ax.set_title(title)
        above = titles
        row[0].set_ylabel(name)
        figure.colorbar(image, ax=row, shrink=0.8, pad=0.01, label="logit (nats)")
    order = "columns: candidates in the order of the queries, so right answers lie on the diagonal"
    return style.finish(figure, axes.flat, f"{order}\n{grouping.maps_phrase(logits)}")


def _layout(table: pl.DataFrame) -> dict[str, dict[str, str]]:
    """Return the rows of maps of a grid point; a task without a layout has one row."""
    groups = table["group"].unique(maintain_order=True)
    return LAYOUTS.get(table["task"][0], {"": {g: g.replace("_", " ") for g in groups}})

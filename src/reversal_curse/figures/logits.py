"""Logits of the answers, seen and unseen: Zhu et al. 2024, figures 2 and 4."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures.grouping import first_seed, maps_phrase, mean_and_spread, split_points
from reversal_curse.figures.style import PANEL_WIDTH, finish, new_figure
from reversal_curse.tables.summaries import logit_contrast

READOUTS = {"entity": "entity alone", "entity_relation": "entity and relation"}
# Per task the rows of maps, and in each the title of every group.
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
        name: {f"{split}_a_to_b": "A → B", f"{split}_b_to_c": "B → C", f"{split}_a_to_c": "A ⇝ C"}
        for split, name in (("train", "train"), ("validation", "validation"))
    },
}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Logits of the candidates (columns) after each query (rows) at the end of training, for what
    is trained and for what is held out; right answers lie on the diagonal. Maps are of one seed,
    the numbers below them of all."""
    logits = tables["logits"]
    rows = [
        (
            "\n".join(filter(None, [label, part, f"query: {words}"])),
            table.filter(pl.col("readout") == readout),
            groups,
        )
        for label, table in split_points(logits)
        for readout, words in READOUTS.items()
        for part, groups in _layout(table).items()
    ]
    columns = max(len(groups) for *_, groups in rows)
    size = (columns * 0.82 * PANEL_WIDTH + 0.9, len(rows) * 2.45 + 0.3)
    figure, axes = new_figure(*size, len(rows), columns)
    for index, (row, (name, table, groups)) in enumerate(zip(axes, rows, strict=True)):
        limits = {"vmin": table["logit"].min(), "vmax": table["logit"].max()}
        for ax in row[len(groups) :]:
            ax.set_visible(False)
        for ax, (group, title) in zip(row, groups.items(), strict=False):
            part = table.filter(pl.col("group") == group)
            image = ax.imshow(_matrix(part), cmap="viridis", **limits)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.set_xlabel(_contrast(part), fontsize=7)
            if index == 0 or list(groups.values()) != list(rows[index - 1][2].values()):
                ax.set_title(title)
        row[0].set_ylabel(name)
        figure.colorbar(image, ax=row, shrink=0.8, pad=0.01, label="logit (nats)")
    order = "columns: candidates in the order of the queries, so right answers lie on the diagonal"
    finish(figure, axes.flat, f"{order}\n{maps_phrase(logits)}")
    return figure


def _layout(table: pl.DataFrame) -> dict[str, dict[str, str]]:
    """The rows of maps of a grid point, and the groups in each; all in one row if not listed."""
    groups = table["group"].unique(maintain_order=True)
    return LAYOUTS.get(table["task"][0], {"": {g: g.replace("_", " ") for g in groups}})


def _matrix(part: pl.DataFrame) -> np.ndarray:
    """Logits of the first seed, shape (queries, candidates)."""
    one = first_seed(part).sort("query", "candidate")
    return one["logit"].to_numpy().reshape(one["query"].n_unique(), -1)


def _contrast(part: pl.DataFrame) -> str:
    """Mean logit of the right answers minus that of the other candidates, over seeds."""
    by_seed = logit_contrast(part)
    if by_seed.is_empty():
        return "one candidate only"
    return f"right − other: {mean_and_spread(by_seed['contrast'])}"

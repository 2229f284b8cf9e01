"""Logits of the answers, seen and unseen: Zhu et al. 2024, figures 2 and 4."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from reversal_curse.analysis import logit_contrast
from reversal_curse.figures.points import mean_and_spread, seed_phrase, split_points
from reversal_curse.figures.style import PANEL_WIDTH, footnote, label_panels

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
    """Heat maps of one seed, a row per read-out; below each the contrast over all seeds."""
    logits = tables["logits"]
    (task,) = logits["task"].unique()
    layout = LAYOUTS[task]
    rows = [
        (
            _row_label(label, READOUTS[readout], part),
            table.filter(pl.col("readout") == readout),
            groups,
        )
        for label, table in split_points(logits)
        for readout in READOUTS
        for part, groups in layout.items()
    ]
    columns = max(len(groups) for groups in layout.values())
    figure = Figure(
        figsize=(columns * 0.82 * PANEL_WIDTH + 0.9, len(rows) * 2.45 + 0.3), layout="constrained"
    )
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for index, (name, table, groups) in enumerate(rows):
        row = axes[index]
        limits = table.select(low=pl.col("logit").min(), high=pl.col("logit").max()).row(0)
        for ax, (group, title) in zip(row, groups.items(), strict=True):
            part = table.filter(pl.col("group") == group)
            image = ax.imshow(_matrix(part), cmap="viridis", vmin=limits[0], vmax=limits[1])
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
            ax.set_xlabel(_contrast(part), fontsize=7)
            if index == 0:
                ax.set_title(title)
        row[0].set_ylabel(name)
        figure.colorbar(image, ax=row, shrink=0.8, pad=0.01, label="logit (nats)")
    label_panels(list(axes.flat))
    footnote(
        figure,
        "columns: candidates in the order of the queries, so right answers lie on the diagonal\n"
        f"maps: seed {logits['seed'].min()}; numbers: mean ± standard deviation over "
        f"{seed_phrase(logits)}",
    )
    return figure


def _row_label(point: str, readout: str, part: str) -> str:
    return "\n".join(filter(None, [point, part, f"query: {readout}"]))


def _matrix(part: pl.DataFrame) -> np.ndarray:
    """Logits of the first seed, shape (queries, candidates)."""
    one = part.filter(pl.col("seed") == pl.col("seed").min()).sort("query", "candidate")
    return one["logit"].to_numpy().reshape(one["query"].n_unique(), -1)


def _contrast(part: pl.DataFrame) -> str:
    """Mean logit of the right answers minus that of the other candidates, over seeds."""
    by_seed = logit_contrast(part)
    if by_seed.is_empty():
        return "one candidate only"
    return f"right − other: {mean_and_spread(by_seed['contrast'])}"

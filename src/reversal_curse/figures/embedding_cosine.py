"""Cosine similarity of token embeddings after training: Zhu et al. 2024, figure 11."""

from __future__ import annotations

import math

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.analysis import cosine_matrix, mean_absolute_cosine, random_absolute_cosine
from reversal_curse.figures.points import mean_and_spread, seed_phrase, split_points
from reversal_curse.figures.style import MAX_COLUMNS, PANEL_WIDTH, footnote, label_panels

ROLES = ("relation", "A", "B", "C", "x", "y", "z", "index")


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """One heat map per grid point, of the tokens in use of the first seed."""
    embeddings = tables["embeddings"].filter(pl.col("role").is_in(ROLES))
    panels = split_points(embeddings)
    columns = min(len(panels), MAX_COLUMNS)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(columns * PANEL_WIDTH + 0.7, rows * 2.95 + 0.2), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax, (label, table) in zip(axes, panels, strict=False):
        first = table.filter(pl.col("seed") == pl.col("seed").min())
        image = ax.imshow(cosine_matrix(_ordered(first)), cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set_title(label)
        ax.set_xticks([])
        places = _places(_ordered(first)["role"].to_list())
        ax.set_yticks(list(places.values()), list(places))
        ax.tick_params(length=0)
        ax.set_xlabel(_summary(table), fontsize=7)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    figure.colorbar(image, ax=list(axes), shrink=0.7, pad=0.01, label="cosine similarity")
    label_panels(list(axes[: len(panels)]))
    footnote(
        figure,
        "rows and columns: relation tokens, then entities by their role\n"
        f"maps: seed {embeddings['seed'].min()}; numbers: mean ± standard deviation over "
        f"{seed_phrase(embeddings)}",
    )
    return figure


def _ordered(table: pl.DataFrame) -> pl.DataFrame:
    """Tokens by role and by place within it."""
    rank = pl.col("role").replace_strict({role: i for i, role in enumerate(ROLES)})
    return table.sort(rank, "position")


def _places(roles: list[str]) -> dict[str, float]:
    """The middle of every role that has room for a label."""
    return {
        role: roles.index(role) + (roles.count(role) - 1) / 2
        for role in dict.fromkeys(roles)
        if roles.count(role) > len(roles) / 12 and role != "relation"
    }


def _summary(table: pl.DataFrame) -> str:
    """Mean absolute cosine off the diagonal, beside what random directions would give."""
    values = [mean_absolute_cosine(part) for part in table.partition_by("seed")]
    d = len(table["embedding"][0])
    return (
        f"off-diagonal |cos|: {mean_and_spread(values, 2)}\n"
        f"random directions: {random_absolute_cosine(d):.2f}"
    )

"""Cosine similarity of token embeddings after training: Zhu et al. 2024, figure 11."""

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures.grouping import first_seed, maps_phrase, mean_and_spread, split_points
from reversal_curse.figures.style import PANEL_WIDTH, finish, panel_grid
from reversal_curse.tables.summaries import (
    cosine_matrix,
    mean_absolute_cosine,
    random_absolute_cosine,
)

ROLES = ("relation", "A", "B", "C", "x", "y", "z", "index")


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Cosine similarity of the embeddings of the tokens in use after training, a heat map of one
    seed for each grid point; the numbers below are of all seeds."""
    embeddings = tables["embeddings"].filter(pl.col("role") != "unused")
    panels = split_points(embeddings)
    figure, axes = panel_grid(len(panels), PANEL_WIDTH, 2.95, (0.7, 0.2))
    for ax, (label, table) in zip(axes, panels, strict=True):
        first = _ordered(first_seed(table))
        image = ax.imshow(cosine_matrix(first), cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set_title(label)
        ax.set_xticks([])
        places = _places(first["role"].to_list())
        ax.set_yticks(list(places.values()), list(places))
        ax.tick_params(length=0)
        ax.set_xlabel(_summary(table), fontsize=7)
    figure.colorbar(image, ax=axes, shrink=0.7, pad=0.01, label="cosine similarity")
    note = "rows and columns: relation tokens, then entities by their role\n"
    finish(figure, axes, note + maps_phrase(embeddings))
    return figure


def _ordered(table: pl.DataFrame) -> pl.DataFrame:
    """Tokens by role and by place within it."""
    rank = pl.col("role").replace_strict(
        {role: i for i, role in enumerate(ROLES)}, default=len(ROLES), return_dtype=pl.Int32
    )
    return table.sort(rank, "role", "position")


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
    random = random_absolute_cosine(len(table["embedding"][0]))
    return f"off-diagonal |cos|: {mean_and_spread(values, 2)}\nrandom directions: {random:.2f}"

"""Cosine similarity of token embeddings after training: Zhu et al. 2024, figure 11."""

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures import grouping, style
from reversal_curse.tables import summaries

ROLES = ("relation", "A", "B", "C", "x", "y", "z", "index")


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Cosine similarity of the embeddings of the tokens in use after training, a heat map of one
    seed for each grid point; the numbers below are of all seeds."""
    embeddings = tables["embeddings"].filter(pl.col("role") != "unused")
    panels = grouping.split_points(embeddings)
    figure, axes = style.panel_grid(len(panels), style.PANEL_WIDTH, 2.95, (0.7, 0.2))
    order = pl.Enum([*ROLES, *sorted({*embeddings["role"]} - {*ROLES})])
    for ax, (label, table) in zip(axes, panels, strict=True):
        first = table.filter(seed=table["seed"].min()).sort(pl.col("role").cast(order), "position")
        image = ax.imshow(summaries.cosine_matrix(first), cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set(title=label, xticks=[])
        places = _places(first["role"].to_list())
        ax.set_yticks(list(places.values()), list(places))
        ax.tick_params(length=0)
        ax.set_xlabel(_summary(table), fontsize=style.points(7))
    figure.colorbar(image, ax=axes, shrink=0.7, pad=0.01, label="cosine similarity")
    note = "rows and columns: relation tokens, then entities by their role\n"
    return style.finish(figure, axes, note + grouping.maps_phrase(embeddings))


def _places(roles: list[str]) -> dict[str, float]:
    """Return the middle of every role that has room for a label."""
    return {
        role: roles.index(role) + (roles.count(role) - 1) / 2
        for role in dict.fromkeys(roles)
        if roles.count(role) > len(roles) / 12 and role != "relation"
    }


def _summary(table: pl.DataFrame) -> str:
    """Compare the mean absolute cosine off the diagonal with that of random directions."""
    values = [summaries.mean_absolute_cosine(part) for part in table.partition_by("seed")]
    random = summaries.random_absolute_cosine(len(table["embedding"][0]))
    cosine = grouping.mean_and_spread(values, 2)
    return f"off-diagonal |cos|: {cosine}\nrandom directions: {random:.2f}"

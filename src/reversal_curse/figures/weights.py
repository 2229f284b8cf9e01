"""Effective weights between entities: asymmetric and intransitive. Zhu et al. 2024, section 4."""

import itertools

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reversal_curse.config.settings import in_words
from reversal_curse.figures.grouping import first_seed, maps_phrase, mean_and_spread, split_points
from reversal_curse.figures.style import PANEL_WIDTH, finish, new_figure
from reversal_curse.tables.summaries import asymmetry, partner_contrasts


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Effective weights from entity to entity at the end of training, a map of one seed for each
    grid point; the numbers below are of all seeds."""
    weights = tables["weights"]
    panels = split_points(weights)
    size = (1.3 * PANEL_WIDTH * len(panels) + 0.3, 4.1)
    figure, grid = new_figure(*size, 1, len(panels))
    for ax, (label, table) in zip(grid.flat, panels, strict=True):
        image = _draw_map(ax, first_seed(table))
        figure.colorbar(image, ax=ax, shrink=0.75, pad=0.02, label="weight (nats)")
        ax.set_title(_title(label, table))
        ax.set_xlabel(_summary(table), fontsize=7)
    note = (
        "rows: from; columns: to; within a role train facts come first, and behind the thin line "
        f"those of which a sentence is held out\n{maps_phrase(weights)}; "
        "contrast: weight to the partner minus that to the others"
    )
    finish(figure, grid.flat, note)
    return figure


def _draw_map(ax: Axes, table: pl.DataFrame):
    sources = table.select("source_role", "source", "pair_split").unique(maintain_order=True)
    size = sources.height
    image = ax.imshow(table["weight"].to_numpy().reshape(size, size), cmap="viridis")
    starts = [0, *_edges(sources["source_role"]), size]
    thin = set(_edges(sources["pair_split"])) - set(starts)
    for edge in [*starts[1:-1], *sorted(thin)]:
        for draw_line in (ax.axhline, ax.axvline):
            draw_line(edge - 0.5, color="white", linewidth=0.4 if edge in thin else 1.2)
    middles = [(low + high) / 2 - 0.5 for low, high in itertools.pairwise(starts)]
    roles = [sources["source_role"][low] for low in starts[:-1]]
    ax.set_xticks(middles, roles)
    ax.set_yticks(middles, roles)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    return image


def _edges(values: pl.Series) -> list[int]:
    """Where a value differs from the one before it."""
    array = values.to_numpy()
    return (np.flatnonzero(array[1:] != array[:-1]) + 1).tolist()


def _title(label: str, table: pl.DataFrame) -> str:
    """The grid point; its width also where no other has one."""
    d = in_words("embed_dim", table["embed_dim"][0])
    return ", ".join(filter(None, [label, d if d not in label else ""]))


def _summary(table: pl.DataFrame) -> str:
    if "C" in table["source_role"]:
        contrasts = partner_contrasts(table).filter(pl.col("pair_split") == "validation")
        shown = [f"{a} to {b}: {_spread(contrasts, a, b)}" for a, b in ("AB", "BC", "AC")]
        return "\n".join(["contrast of held-out chains", *shown])
    index = asymmetry(table)
    shown = [
        f"{name}: {mean_and_spread(part['asymmetry'], 2)}"
        for split, name in (("train", "train pairs"), ("validation", "one direction held out"))
        if (part := index.filter(pl.col("pair_split") == split)).height
    ]
    return "\n".join(["asymmetry, 0 (none) to 1", *shown])


def _spread(contrasts: pl.DataFrame, source: str, target: str) -> str:
    part = contrasts.filter(pl.col("source_role") == source, pl.col("target_role") == target)
    by_seed = part.group_by("seed").agg(pl.col("contrast").mean()).sort("seed")
    return mean_and_spread(by_seed["contrast"]) if by_seed.height else "too few entities"

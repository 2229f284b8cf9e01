"""Effective weights between entities: asymmetric and intransitive. Zhu et al. 2024, section 4."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reversal_curse.analysis import asymmetry, partner_contrasts
from reversal_curse.figures.points import mean_and_spread, seed_phrase, split_points
from reversal_curse.figures.style import PANEL_WIDTH, axis_label, footnote, label_panels


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """One map of the first seed per grid point; below it numbers over all seeds."""
    weights = tables["weights"]
    panels = [table for _, table in split_points(weights)]
    figure = Figure(figsize=(1.3 * PANEL_WIDTH * len(panels) + 0.3, 4.1), layout="constrained")
    axes = list(figure.subplots(1, len(panels), squeeze=False)[0])
    for ax, table in zip(axes, panels, strict=True):
        first = table.filter(pl.col("seed") == pl.col("seed").min())
        image = _draw_map(ax, first)
        figure.colorbar(image, ax=ax, shrink=0.75, pad=0.02, label="weight (nats)")
        ax.set_title(_title(table))
        ax.set_xlabel(_summary(table), fontsize=7)
    label_panels(axes)
    footnote(
        figure,
        "rows: from; columns: to; within a role train facts come first, and behind the thin line "
        "those of which a sentence is held out\n"
        f"maps: seed {weights['seed'].min()}; numbers: mean ± standard deviation over "
        f"{seed_phrase(weights)}; contrast: weight to the partner minus that to the others",
    )
    return figure


def _draw_map(ax: Axes, table: pl.DataFrame):
    sources = table.select("source_role", "source", "pair_split").unique(maintain_order=True)
    size = sources.height
    image = ax.imshow(table["weight"].to_numpy().reshape(size, size), cmap="viridis")
    starts = [0, *np.flatnonzero(_changes(sources["source_role"])) + 1, size]
    for edge in starts[1:-1]:
        ax.axhline(edge - 0.5, color="white", linewidth=1.2)
        ax.axvline(edge - 0.5, color="white", linewidth=1.2)
    for edge in np.flatnonzero(_changes(sources["pair_split"])) + 1:
        if edge not in starts:
            ax.axhline(edge - 0.5, color="white", linewidth=0.4)
            ax.axvline(edge - 0.5, color="white", linewidth=0.4)
    middles = [(low + high) / 2 - 0.5 for low, high in itertools.pairwise(starts)]
    roles = [sources["source_role"][int(low)] for low in starts[:-1]]
    ax.set_xticks(middles, roles)
    ax.set_yticks(middles, roles)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    return image


def _changes(values: pl.Series) -> np.ndarray:
    array = values.to_numpy()
    return array[1:] != array[:-1]


def _title(table: pl.DataFrame) -> str:
    family, task, d = (table[name][0] for name in ("family", "task", "embed_dim"))
    width = f", {axis_label('embed_dim', d)}" if family == "bilinear" else ""
    return f"{axis_label('family', family)}{width}: {axis_label('task', task)}"


def _summary(table: pl.DataFrame) -> str:
    if "C" in table["source_role"]:
        contrasts = partner_contrasts(table).filter(pl.col("pair_split") == "validation")
        shown = [
            f"{a} to {b}: {_spread(contrasts, a, b)}"
            for a, b in (("A", "B"), ("B", "C"), ("A", "C"))
        ]
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

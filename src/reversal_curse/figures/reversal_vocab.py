"""The curse at several vocabulary sizes: Zhu et al. 2024, figure 5."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures.curves import nll_panels


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """One panel per vocabulary size."""
    return nll_panels(tables["metrics"])

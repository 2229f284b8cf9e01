"""The reversal curse during training: Zhu et al. 2024, figure 1."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures.curves import nll_panels


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss against epoch on the training set and on the unseen directions."""
    return nll_panels(tables["metrics"])

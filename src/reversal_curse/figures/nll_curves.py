"""Loss against epoch, one panel per grid point: Zhu et al. 2024, figures 1, 5, 10 and appendix."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures.curves import nll_panels


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss on the training set and on the unseen sentences, with both chance levels."""
    return nll_panels(tables["metrics"])

"""The curse under several positional encodings: Zhu et al. 2024, appendix."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures.curves import nll_panels


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """One panel per positional encoding."""
    return nll_panels(tables["metrics"])

"""Loss of the first answer token and of the whole answer: Zhu et al. 2024, figure 8."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures.curves import nll_panels


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """One panel per grid point: solid for the first token, dashed for the whole answer."""
    return nll_panels(tables["metrics"], with_words=True)

"""Final values as one dot per seed, with the mean: for figures that compare settings."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes


def draw_dots(ax: Axes, place: float, values: pl.Series, colour: str, marker: str = "o") -> None:
    """One faint dot per seed around `place`, and a bar at their mean. NaN is left out."""
    finite = values.filter(values.is_finite()).to_numpy()
    if not len(finite):
        return
    spread = np.linspace(-0.06, 0.06, len(finite)) if len(finite) > 1 else np.zeros(1)
    ax.plot([place - 0.085, place + 0.085], [finite.mean()] * 2, color=colour, lw=2)
    edge = {"mec": "white", "mew": 0.4}  # so that dots on the bar are seen
    ax.plot(place + spread, finite, marker, color=colour, ms=3.6, alpha=0.6, **edge)

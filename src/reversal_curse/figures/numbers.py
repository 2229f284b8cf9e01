"""The numbers of a figure, as it draws them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

COLUMNS = ("panel", "x_axis", "y_axis", "mark", "series", "x", "x_label", "y", "y_label", "value")
SCHEMA = {name: pl.Float64 if name in ("x", "y", "value") else pl.String for name in COLUMNS}


def drawn_numbers(figure: Figure) -> pl.DataFrame:
    """Tabulate the numbers that a figure draws, a row for each.

    `mark` is a point (of a line, or a dot), a level (a line across the panel), a point of the edge
    of a band, or a cell of a map with its `value`. `series` is the entry of the legend that looks
    like it. Where an axis has categories, labels name the nearest.
    """
    figure.draw_without_rendering()  # settles ticks
    legends = [*figure.legends, *filter(None, (ax.get_legend() for ax in figure.axes))]
    names: dict[Any, str] = {}
    for legend in legends:
        for handle, text in zip(legend.legend_handles, legend.texts, strict=True):
            look = _look(handle)
            for known in (look, look[:-1]):  # lines of data may be thicker than those of legends
                names[known] = text.get_text()
            names.setdefault(look[:1], text.get_text())  # of its band
    rows = []
    for number, ax in enumerate(ax for ax in figure.axes if ax.get_label() != "<colorbar>"):
        title = " ".join((ax.get_title() or ax.get_title("left") or f"{number + 1}").split())
        shown = {"panel": title, "x_axis": ax.get_xlabel(), "y_axis": ax.get_ylabel()}
        labels = {"x_label": _categories(ax.xaxis), "y_label": _categories(ax.yaxis)}
        for row in _marks(ax, names):
            for name, (ticks, words) in labels.items():
                at = row.get(name[0])
                if words and at is not None:
                    row[name] = words[int(np.abs(ticks - at).argmin())]
            rows.append(shown | row)
    return pl.DataFrame(rows, SCHEMA)


def _marks(ax: Axes, names: dict[Any, str]) -> Iterator[dict[str, Any]]:
    for line in ax.lines:
        label = str(line.get_label())
        level = line.get_transform() != ax.transData
        look = _look(line) if level else _look(line)[:-1]
        series = names.get(look, "" if label.startswith("_") else label)
        places = np.asarray(line.get_xydata(), float)
        if level:
            (x, y), flat = places[0], np.ptp(places[:, 1]) == 0
            yield {"mark": "level", "series": series, **({"y": y} if flat else {"x": x})}
        else:
            yield from ({"mark": "point", "series": series, "x": x, "y": y} for x, y in places)
    for band in ax.collections:
        if isinstance(band, PolyCollection):
            edge = np.concatenate([path.vertices for path in band.get_paths()])
            series = names.get(_look(band), "")
            yield from ({"mark": "band", "series": series, "x": x, "y": y} for x, y in edge)
    for image in ax.images:
        values = np.ma.filled(np.ma.asarray(image.get_array(), dtype=float), np.nan)
        for (row, column), value in np.ndenumerate(values):
            yield {"mark": "cell", "x": column, "y": row, "value": value}


def _categories(axis: Axis) -> tuple[np.ndarray, list[str]]:
    """Return the places of an axis that have words, and these words, shown in this panel or not."""
    places, fixed = axis.get_ticklocs(), isinstance(axis.get_major_locator(), FixedLocator)
    words = axis.get_major_formatter().format_ticks(list(places)) if fixed else []
    return places, [" ".join(str(word).split()) for word in words]


def _look(artist: Any) -> tuple:
    """Return what tells a line, dots or an area from others in a legend."""
    if isinstance(artist, Line2D):
        dashes = artist._unscaled_dash_pattern  # get_linestyle() calls all patterns "--"
        return to_hex(artist.get_color()), artist.get_marker(), str(dashes), artist.get_linewidth()
    colour: Any = np.ravel(artist.get_facecolor())[:3]
    return (to_hex(colour),)

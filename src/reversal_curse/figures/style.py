"""The house style: sizes, fonts, and colours that the colour-blind can tell apart."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reversal_curse.families import FAMILIES
from reversal_curse.tasks import TASKS

# Okabe and Ito's palette.
COLOURS = {"train": "#0072B2", "unseen": "#D55E00"}
SPLIT_MARKERS = {"train": "^", "unseen": "o"}
REFERENCE = "#555555"
BEFORE, AFTER = "#999999", "#0072B2"
KIND_COLOURS = {"masked_diffusion": "#0072B2", "masked_lm": "#009E73", "causal": "#D55E00"}
DASHES = (0, (4, 2))
_LINES = {"rotary": "-", "alibi": (0, (6, 1, 1, 1)), "none": (0, (1, 1)), "absolute": DASHES}
_MARKERS = {"rotary": "o", "alibi": "^", "none": "v", "absolute": "s"}

PANEL_WIDTH, PANEL_HEIGHT = 2.6, 2.3  # inches
MAX_COLUMNS = 4

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
}


def family_colour(family: str) -> str:
    """The colour of a family; grey where it has none."""
    return FAMILIES[family].colour if family in FAMILIES else REFERENCE


def encoding_line(encoding: str | None) -> Any:
    """The line style of a positional encoding; that of one without a style is dash-dotted."""
    return _LINES.get(encoding, "-.")


def encoding_marker(encoding: str | None) -> str:
    """The marker of a positional encoding; that of one without a marker is a diamond."""
    return _MARKERS.get(encoding, "D")


def split_names(tasks: list[str]) -> dict[str, str]:
    """What a plot calls the two splits, given the tasks that it shows."""
    known = len(tasks) == 1 and tasks[0] in TASKS
    return {"train": "train", "unseen": TASKS[tasks[0]].unseen if known else "unseen"}


def shades(values: Iterable, colormap: str = "viridis", low: float = 0.0, high: float = 0.85):
    """A colour for every value, from dark to light in their order."""
    values = list(values)
    colours = matplotlib.colormaps[colormap](np.linspace(low, high, len(values)))
    return dict(zip(values, colours, strict=True))


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **given: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of a width and height (inches), and its panels by row and column."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **given)


def panel_grid(
    count: int, width: float, height: float, extra: tuple[float, float], **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels of a width and height (inches), and the panels, row by row."""
    columns = min(count, MAX_COLUMNS)
    rows = -(-count // columns)
    size = (columns * width + extra[0], rows * height + extra[1])
    figure, grid = new_figure(*size, rows, columns, **shared)
    for ax in grid.flat[count:]:
        ax.set_visible(False)
    return figure, list(grid.flat[:count])


def key(label: str, colour: Any = "black", **line: Any) -> Line2D:
    """An entry of a legend."""
    return Line2D([], [], color=colour, label=label, **line)


def finish(
    figure: Figure,
    axes: Iterable[Axes],
    note: str,
    handles: Sequence[Artist] = (),
    columns: int | None = None,
) -> None:
    """Letter the panels where there are several; the legend above, and below what marks mean."""
    axes = list(axes)
    for index, ax in enumerate(axes if len(axes) > 1 else []):
        font: dict[str, Any] = {"fontweight": "bold", "fontsize": 9, "ha": "right", "va": "bottom"}
        ax.text(-0.02, 1.04, _letter(index), transform=ax.transAxes, **font)
    if handles:
        columns = columns or len(handles)
        figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    figure.supxlabel(note, fontsize=7, color=REFERENCE)


def _letter(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    prefix = _letter(index // 26 - 1) if index >= 26 else ""
    return prefix + chr(ord("a") + index % 26)

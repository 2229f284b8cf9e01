"""The house style: sizes, fonts, and colours that the colour-blind can tell apart."""

import re
from collections.abc import Iterable, Sequence
from itertools import product
from string import ascii_lowercase
from typing import Any

import matplotlib
import numpy as np
import polars as pl
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
KNOWN = "#009E73"  # which of the candidates the answer is
KIND_COLOURS = {"masked_diffusion": "#0072B2", "masked_lm": "#009E73", "causal": "#D55E00"}
DASHES = (0, (4, 2))
EPOCHS = "epoch (linear up to 1)"  # names a symmetric logarithmic axis
# The name and line style of each chance level, by its column of `metrics`.
CHANCES = {
    "chance_vocab": ("chance, vocabulary", (0, (5, 2))),
    "chance_class": ("chance, entity class", (0, (1, 1.5))),
}
CHANCE_CHOICE = ("chance, candidates", (0, (4, 3, 1, 3)))
_ENCODINGS = {
    "rotary": {"ls": "-", "marker": "o"},
    "alibi": {"ls": (0, (6, 1, 1, 1)), "marker": "^"},
    "none": {"ls": (0, (1, 1)), "marker": "v"},
    "absolute": {"ls": DASHES, "marker": "s"},
}

PANEL_WIDTH, PANEL_HEIGHT = 2.6, 2.3  # inches
MAX_COLUMNS = 4

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
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
    """Return the colour of a family, grey if it is unknown."""
    return FAMILIES[family].colour if family in FAMILIES else REFERENCE


def encoding_look(encoding: str | None) -> dict[str, Any]:
    """Return the line and marker of a positional encoding; unknown ones share one look."""
    return _ENCODINGS.get(encoding, {"ls": "-.", "marker": "D"})


def split_names(metrics: pl.DataFrame) -> dict[str, str]:
    """Name the two splits, in the words of the task if the table has only one task."""
    task, *others = metrics["task"].unique()
    known = task in TASKS and not others
    return {"train": "train", "unseen": TASKS[task].unseen if known else "unseen"}


def in_lines(label: str) -> str:
    """Break a label after its commas, and before the word positions."""
    return re.sub(", | (?=positions)", "\n", label)


def in_two_lines(text: str, mark: str) -> str:
    """Break a text at the mark nearest its middle, in place of the mark's last character."""
    ends = [found.end() for found in re.finditer(mark, text)]
    if not ends:
        return text
    end = min(ends, key=lambda end: abs(end - len(text) / 2))
    return f"{text[: end - 1]}\n{text[end:]}"


def shades(values: Iterable, colormap: str = "viridis", low: float = 0.0, high: float = 0.85):
    """Give every value a colour, from dark to light in their order."""
    values = list(values)
    colours = matplotlib.colormaps[colormap](np.linspace(low, high, len(values)))
    return dict(zip(values, colours, strict=True))


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **given: Any
) -> tuple[Figure, np.ndarray]:
    """Make a figure of a width and height (inches), and its panels by row and column."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **given)


def panel_grid(
    count: int, width: float, height: float, extra: tuple[float, float], **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure of `count` panels of a width and height (inches), listed row by row."""
    columns = min(count, MAX_COLUMNS)
    rows = -(-count // columns)
    size = (columns * width + extra[0], rows * height + extra[1])
    figure, grid = new_figure(*size, rows, columns, **shared)
    for ax in grid.flat[count:]:
        ax.set_visible(False)
    return figure, list(grid.flat[:count])


def key(label: str, colour: Any = "black", **line: Any) -> Line2D:
    """Make an entry of a legend."""
    return Line2D([], [], color=colour, label=label, **line)


def finish(
    figure: Figure, axes: Iterable[Axes], note: str, keys: Sequence[Artist] = (), columns: int = 0
) -> Figure:
    """Letter the panels if there are several; add the legend above and the note below."""
    axes = list(axes)
    letters = [*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2))]
    look: dict[str, Any] = {"fontweight": "bold", "fontsize": 9, "ha": "right", "va": "bottom"}
    look |= {"xycoords": "axes fraction", "textcoords": "offset points"}
    for ax, letter in zip(axes if len(axes) > 1 else [], letters, strict=False):
        ax.annotate(letter, (0, 1), (-8, 5), **look)
    if keys:
        figure.legend(handles=keys, loc="outside upper center", ncols=columns or len(keys))
    figure.supxlabel(note, fontsize=7, color=REFERENCE)
    return figure

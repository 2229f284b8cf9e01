"""The house style: sizes, fonts, and colours that the colour-blind can tell apart."""

import math
import re
import textwrap
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import pairwise, product
from string import ascii_lowercase
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from reversal_curse.config.figures import PALETTES
from reversal_curse.config.file import Style
from reversal_curse.tasks import TASKS

# Okabe and Ito's palette.
COLOURS = {"train": "#0072B2", "unseen": "#D55E00"}
CATEGORIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
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
ENCODINGS: dict[str, dict[str, Any]] = {
    "rotary": {"ls": "-", "marker": "o"},
    "alibi": {"ls": (0, (6, 1, 1, 1)), "marker": "^"},
    "none": {"ls": (0, (1, 1)), "marker": "v"},
    "absolute": {"ls": DASHES, "marker": "s"},
}

PANEL_WIDTH, PANEL_HEIGHT = 2.6, 2.3  # inches
MAX_COLUMNS = 4
OUTSIDE = 0.9  # inches, about, of legend and note
NARROWEST = 0.5  # of the width that a panel likes, on a page
LOWEST = 0.75  # of the height
LEAST_SIZE = 6.0  # points, of any text
FONT_SIZE = 8.0  # points; other sizes are in proportion to it

_SIZES = {"axes.titlesize": 8.5, "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7.5}
_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.dpi": 100,
    "pdf.fonttype": 42,
    "svg.hashsalt": "1",  # the same numbers give the same file
}


@contextmanager
def styled(look: Style) -> Generator[None]:
    """Draw in a style; the default size of a figure says how wide the page is."""
    chosen: dict[Any, Any] = {"font.size": look.font_size, "savefig.dpi": look.dpi}
    chosen["figure.figsize"] = (look.width or math.inf, 1)
    chosen |= {name: points(size, look.font_size) for name, size in _SIZES.items()}
    with matplotlib.rc_context(_RC | chosen):
        yield


def _page() -> float:
    """Return how wide a figure may be, in inches."""
    return matplotlib.rcParams["figure.figsize"][0]


def points(size: float, font_size: float = 0) -> float:
    """Scale a size of text, given for the default style, to a font size, or to that in use."""
    return max(LEAST_SIZE, size * (font_size or matplotlib.rcParams["font.size"]) / FONT_SIZE)


def recolour(figure: Figure, palette: str) -> None:
    """Replace the colours of lines, dots, areas and text by those of a palette."""
    new = {to_hex(old): colour for old, colour in PALETTES[palette].items()}
    names = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
    for artist, name in product(figure.findobj() if new else [], names):
        get, put = (getattr(artist, f"{verb}_{name}", None) for verb in ("get", "set"))
        colour = get() if get and put else "none"
        if isinstance(colour, np.ndarray):  # of a collection
            colour = tuple(colour[0]) if len(colour) == 1 else "none"
        replaced = None if colour in ("none", "auto") else new.get(to_hex(colour))
        if put and replaced:
            put(replaced)


def split_names(metrics: pl.DataFrame) -> dict[str, str]:
    """Name the two splits, in the words of the task if the table has only one task."""
    task, *others = metrics["task"].unique()
    return {"train": "train", "unseen": "unseen" if others else TASKS[task].unseen}


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


def colours_of(values: Iterable) -> dict[Any, Any]:
    """Give every value a colour: one of Okabe and Ito's if there are enough."""
    values = list(values)
    enough = len(values) <= len(CATEGORIES)
    return dict(zip(values, CATEGORIES, strict=False)) if enough else shades(values)


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **given: Any
) -> tuple[Figure, np.ndarray]:
    """Make a figure of a width and height (inches), and its panels by row and column.

    If the page is narrower, panels shrink, and what does not fit in a row is in several.
    """
    page, liked = _page(), width / columns
    divisors = (n for n in range(columns, 0, -1) if columns % n == 0)
    across = next((n for n in divisors if page / n >= NARROWEST * liked), 1)
    times = columns // across
    page = min(page, across * liked)
    if page < width:
        panels = max(LOWEST, page / across / liked) * times
        height = panels * (height - OUTSIDE) + OUTSIDE
    if times > 1:
        given.pop("width_ratios", None)
        if "height_ratios" in given:
            given["height_ratios"] = np.repeat(given["height_ratios"], times)
    figure = Figure(figsize=(page, height), layout="constrained")
    grid = figure.subplots(rows * times, across, squeeze=False, **given)
    return figure, grid.reshape(rows, columns)


def panel_grid(
    count: int, width: float, height: float, extra: tuple[float, float], **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure of `count` panels of a width and height (inches), listed row by row."""
    page = min(_page(), 100)
    columns = min(count, MAX_COLUMNS, max(1, int((page - extra[0]) / (NARROWEST * width))))
    rows = -(-count // columns)
    whole = columns * width + extra[0]
    shrunk = max(LOWEST, min(1, page / whole))
    size = (min(page, whole), rows * height * shrunk + extra[1])
    figure, grid = new_figure(*size, rows, columns, **shared)
    for ax in grid.flat[count:]:
        ax.set_visible(False)
    return figure, list(grid.flat[:count])


def turn_crowded(axes: Sequence[Axes], names: Sequence[str] = ()) -> None:
    """Turn the names of places on the x axes if some run into each other; into `names` if given."""
    whole: Any = axes[0].figure
    whole.draw_without_rendering()
    boxes = [[name.get_window_extent() for name in ax.get_xticklabels()] for ax in axes]
    if any(right.x0 - left.x1 < 4 for row in boxes for left, right in pairwise(row)):
        for ax in axes:
            ax.tick_params(axis="x", rotation=90)
            if names:
                ax.set_xticks(ax.get_xticks(), names)


def is_leftmost(ax: Axes) -> bool:
    """Tell whether a panel is the first of its row."""
    place: Any = ax.get_subplotspec()
    return place.is_first_col()


def grid_of(ax: Axes) -> Any:
    """Return the grid of panels that this one is in."""
    return ax.get_gridspec()


def name_axes(axes: Sequence[Axes], x: str, y: str) -> None:
    """Name the axes that the panels of a grid share, at its left and below each column."""
    for ax in axes[-grid_of(axes[0]).ncols :]:
        ax.set_xlabel(x)
        ax.tick_params(labelbottom=True)
    for ax in filter(is_leftmost, axes):
        ax.set_ylabel(y)


def key(label: str, colour: Any = "black", **line: Any) -> Line2D:
    """Make an entry of a legend."""
    return Line2D([], [], color=colour, label=label, **line)


def finish(
    figure: Figure, axes: Iterable[Axes], note: str, keys: Sequence[Artist] = (), columns: int = 0
) -> Figure:
    """Letter the panels if there are several; add the legend above and the note below."""
    axes = list(axes)
    letters = (before + letter for before in ("", *ascii_lowercase) for letter in ascii_lowercase)
    look: dict[str, Any] = {"fontweight": "bold", "fontsize": points(9)}
    look |= {"ha": "right", "va": "bottom"}
    look |= {"xycoords": "axes fraction", "textcoords": "offset points"}
    for ax, letter in zip(axes if len(axes) > 1 else [], letters, strict=False):
        ax.annotate(letter, (0, 1), (-8, 5), **look)
    for number in range((columns or len(keys)) if keys else 0, 0, -1):
        legend = figure.legend(handles=keys, loc="outside upper center", ncols=number)
        if number == 1 or legend.get_window_extent().width <= 0.97 * figure.bbox.width:
            break
        legend.remove()
    write_note(figure, note)
    if _page() < math.inf:
        outside = [*figure.legends, *figure.texts]
        height = sum(one.get_window_extent().height for one in outside) / figure.dpi
        figure.set_figheight(figure.get_figheight() + max(0, height - OUTSIDE + 0.3))
        if axes:
            _break_lines(figure, axes)
    return figure


def write_note(figure: Figure, note: str) -> None:
    """Write a note below the panels."""
    figure.supxlabel(note, fontsize=points(7), color=REFERENCE, wrap=True)


def _break_lines(figure: Figure, axes: Sequence[Axes]) -> None:
    """Break the titles of panels and the names of their axes into lines that fit."""
    figure.draw_without_rendering()  # places the panels
    high = axes[0].get_window_extent().height
    for ax in axes:
        for text in (ax.title, ax.xaxis.label):
            _fit(text, text.get_window_extent().width, ax.get_window_extent().width)
    figure.draw_without_rendering()
    lost = high - axes[0].get_window_extent().height  # the panels are lower now
    lost *= grid_of(axes[0]).nrows / figure.dpi
    figure.set_figheight(figure.get_figheight() + lost)
    figure.draw_without_rendering()
    for ax in axes:
        label = ax.yaxis.label
        _fit(label, label.get_window_extent().height, ax.get_window_extent().height + 20)


def _fit(text: Text, length: float, room: float) -> None:
    """Break a text that is too long into lines; 'a = 1' stays whole."""
    if length <= room:
        return
    blank = "\N{NO-BREAK SPACE}"
    lines = re.sub(" ([=±]) ", rf"{blank}\1{blank}", text.get_text()).split("\n")
    letters = int(max(map(len, lines)) * room / length)
    whole: Any = {"break_long_words": False, "break_on_hyphens": False}
    text.set_text("\n".join(textwrap.fill(line, letters, **whole) for line in lines))

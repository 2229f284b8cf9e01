"""The house style: sizes, fonts, and colours that the colour-blind can tell apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette.
COLOURS = {"train": "#0072B2", "unseen": "#D55E00"}
UNSEEN = {
    "reversal": "unseen direction",
    "facts": "reverse query",
    "chain": "unseen, A ⇝ C",
    "chain_related": "unseen, x i ⇝ z i",
    "in_context": "unseen sentences",
}
REFERENCE = "#555555"
FAMILY_COLOURS = {
    "gpt": "#D55E00",
    "masked_diffusion": "#0072B2",
    "one_layer": "#009E73",
    "bilinear": "#555555",
}
ENCODING_STYLES = {
    "rotary": "-",
    "alibi": (0, (6, 1, 1, 1)),
    "none": (0, (1, 1)),
    "absolute": (0, (4, 2)),
}
FAMILY_NAMES = {"gpt": "autoregressive", "masked_diffusion": "masked diffusion"}

PANEL_WIDTH, PANEL_HEIGHT = 2.6, 2.3  # inches
MAX_COLUMNS = 4

RC = {
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

_AXIS_LABELS: dict[str, Callable[[object], str]] = {
    "layers": lambda v: f"{v} layer" if v == 1 else f"{v} layers",
    "heads": lambda v: f"{v} head" if v == 1 else f"{v} heads",
    "embed_dim": lambda v: f"d = {v}",
    "vocab_size": lambda v: f"V = {v}",
    "entity_length": lambda v: f"{v}-token entities",
    "pos_encoding": lambda v: {"none": "no positions", "alibi": "ALiBi"}.get(
        str(v), f"{v} positions"
    ),
    "masking": lambda v: f"masked: {str(v).replace('_', ' ')}",
    "distance": lambda v: f"{v} relation token" if v == 1 else f"{v} relation tokens",
    "train_facts": lambda v: f"{v} training facts",
    "task": lambda v: str(v).replace("_", " "),
    "family": lambda v: str(v).replace("_", " "),
    "variant": str,
    "settings": lambda v: f"settings {v}",
}


def split_names(tasks: list[str]) -> dict[str, str]:
    """What a figure calls the two splits, given the tasks that it shows."""
    unseen = UNSEEN[tasks[0]] if len(tasks) == 1 else "unseen"
    return {"train": "train", "unseen": unseen}


def axis_label(axis: str, value: object) -> str:
    """How a figure writes one value of an axis: `V = 80`, `2 layers`, ..."""
    return _AXIS_LABELS.get(axis, str)(value)


def shades(values: Iterable, colormap: str = "viridis", low: float = 0.0, high: float = 0.85):
    """A colour for every value, from dark to light in their order."""
    values = list(values)
    colours = matplotlib.colormaps[colormap](np.linspace(low, high, len(values)))
    return dict(zip(values, colours, strict=True))


def label_panels(axes: list[Axes]) -> None:
    """Letter the panels a, b, c, ... where there are several."""
    if len(axes) > 1:
        for index, ax in enumerate(axes):
            ax.text(
                -0.02,
                1.04,
                _letter(index),
                transform=ax.transAxes,
                fontweight="bold",
                fontsize=9,
                ha="right",
                va="bottom",
            )


def _letter(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    prefix = _letter(index // 26 - 1) if index >= 26 else ""
    return prefix + chr(ord("a") + index % 26)


def footnote(figure: Figure, text: str) -> None:
    """A line below the panels that says what marks and bands mean."""
    figure.supxlabel(text, fontsize=7, color=REFERENCE)

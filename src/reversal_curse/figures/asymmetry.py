"""How one-sided the weights between two entities become in training, and how fast."""

import math
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures import grouping, marks, style
from reversal_curse.tables.summaries import asymmetry_in_training

UNRELATED = 0.5 + math.log(2) / math.pi
"""The mean asymmetry of two independent normal numbers of one variance."""
CONTRASTS = {"contrast_seen": ("trained", "-"), "contrast_unseen": ("held out", style.DASHES)}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Asymmetry of effective weights during training, a colour for each grid point. Left: 0 if the
    two directions of a held-out pair are as strong, 1 if one has everything. Right: the strength of
    both, the logit of the right answer minus the mean of the others. Mean over seeds with a band of
    one standard deviation."""
    table = asymmetry_in_training(tables["asymmetry"])
    points = grouping.split_points(table)
    size = (2.9 * style.PANEL_WIDTH, 1.3 * style.PANEL_HEIGHT + 0.3)
    figure, [[index, strength]] = style.new_figure(*size, 1, 2)
    colours = style.colours_of(label for label, _ in points)
    for label, part in points:
        colour = colours[label]
        marks.draw_mean_and_band(index, part, "asymmetry", limits=(0, 1), color=colour)
        for value, (name, line) in CONTRASTS.items():
            look: dict[str, Any] = {"color": colour, "ls": line, "opacity": 0.1}
            words = f"{label}, {name}".removeprefix(", ")
            marks.draw_mean_and_band(strength, part, value, **look, label=words)
    index.axhline(UNRELATED, color=style.REFERENCE, lw=0.8, ls=(0, (1, 1.5)))
    index.set(ylim=(0, 1.03), ylabel="asymmetry, 0 to 1")
    strength.axhline(0, color=style.REFERENCE, lw=0.6)
    strength.set_ylabel("right − others (nats)")
    for ax in (index, strength):
        ax.set_xscale("symlog", linthresh=1)
        ax.set(xlim=(0, None), xlabel=style.EPOCHS)
    handles = [style.key(label, colour) for label, colour in colours.items() if label]
    handles += [style.key(f"direction {name}", ls=line) for name, line in CONTRASTS.values()]
    handles.append(style.key("two unrelated numbers", style.REFERENCE, lw=0.8, ls=(0, (1, 1.5))))
    note = f"line: mean of {grouping.seed_phrase(table)}; band: one standard deviation\n"
    note += "asymmetry: |trained − held out| / (|trained| + |held out|), mean over held-out pairs"
    return style.finish(figure, [index, strength], note, handles)

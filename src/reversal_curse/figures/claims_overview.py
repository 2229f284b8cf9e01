"""The ledger as a forest plot: how far every effect lies beyond its threshold."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from reversal_curse.figures import style

COLOURS = {"supported": "#0072B2", "contradicted": "#D55E00", "inconclusive": "#777777"}
LINEAR = 0.1  # the axis is linear up to there
END = 20.0  # effects beyond it are drawn at it


def draw(rows: list[dict[str, Any]]) -> Figure:
    """How far the effect of every claim lies beyond the nearest end of its threshold, in the unit
    of the effect, with its 95 % interval: to the right of the line the claim holds, to the left it
    does not. Filled: evidence; hollow: checks, which are true by construction. Claims that were not
    tested are left out."""
    judged = [row for row in rows if row["effect"] is not None]
    lines: list[Any] = []  # from top to bottom: sections, as text, and their claims
    for row in judged:
        if row["section"] not in lines:
            lines.append(row["section"])
        lines.append(row)
    figure, grid = style.new_figure(6.4, 0.16 * len(lines) + 1.4)
    ax = grid[0, 0]
    for place, line in enumerate(lines):
        at: dict[str, Any] = {"xy": (0, place), "xycoords": ("axes fraction", "data")}
        at |= {"xytext": (-4, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
        if isinstance(line, str):
            ax.annotate(line, **at, fontsize=7.5, fontweight="bold")
            continue
        colour, hollow = COLOURS[line["verdict"]], line["kind"] == "check"
        link = {"url": f"#{line['id']}"}  # a row of the page that holds the figure
        ax.annotate(f"{line['id']} {line['mark']}", **at, **link, fontsize=6.5, color=colour)
        effect, low, high = np.clip(_beyond(line), -END, END)
        ax.plot([low, high], [place] * 2, color=colour, lw=1.2, alpha=0.7)
        face = "white" if hollow else colour
        ax.plot(effect, place, "o", ms=3.6, mec=colour, mfc=face, mew=0.9, **link)
    ax.axvline(0, color="black", lw=0.8, zorder=0)
    ax.set(xlim=(-END, END), ylim=(len(lines) - 0.4, -0.6), yticks=[])
    ax.set_xscale("symlog", linthresh=LINEAR)
    ticks = [0.1, 1, 10]
    ax.set_xticks([-t for t in ticks[::-1]] + [0, *ticks])
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}".replace("-", "−"))
    ax.set_xlabel("effect beyond its threshold, in its unit (linear up to 0.1)")
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x", lw=0.3, color="#CCCCCC")
    keys = [style.key(name, colour, marker="o", ms=4) for name, colour in COLOURS.items()]
    keys.append(style.key("check", marker="o", ms=4, mfc="white", ls=""))
    note = f"mean over seeds and 95 % interval; {len(rows) - len(judged)} claims not tested"
    return style.finish(figure, [ax], note, keys)


def _beyond(row: dict[str, Any]) -> list[float]:
    """Return effect and interval, counted inwards from the nearest end of the threshold."""
    values = np.array([row["effect"], row["ci_low"], row["ci_high"]])
    if values[0] - row["threshold"] <= row["threshold_below"] - values[0]:
        return list(values - row["threshold"])
    return list(row["threshold_below"] - values[[0, 2, 1]])

"""Two-step chains of thought against the leap: Zhu et al. 2024, section 5."""

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures import grouping, marks, style

WAYS = {"steps": ("A → B, then B → C", "-"), "leap": ("A ⇝ C directly", style.DASHES)}
SPLITS = {
    "train": ("train triples", style.COLOURS["train"]),
    "validation": ("triples whose leap is held out", style.COLOURS["unseen"]),
}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Share of the triples for which the greedy answers reach C: in two steps, the second from the
    model's own B, and by the leap; a panel for each grid point, mean over seeds with a band of one
    standard deviation, and what a guess among all C gets."""
    table = tables["chain_of_thought"]
    panels = grouping.split_points(table)
    size = (1.25 * style.PANEL_WIDTH, style.PANEL_HEIGHT)
    figure, axes = style.panel_grid(len(panels), *size, (0.8, 0.9), sharex=True, sharey=True)
    for ax, (label, point) in zip(axes, panels, strict=True):
        for split, (_, colour) in SPLITS.items():
            right = point.filter(pair_split=split).group_by("seed", "epoch").agg(pl.mean(*WAYS))
            for way, (_, line) in WAYS.items():
                marks.draw_mean_and_band(ax, right, way, limits=(0, 1), color=colour, ls=line)
        guess = 1 / point.filter(seed=point["seed"].min())["pair"].n_unique()
        ax.axhline(guess, color=style.REFERENCE, lw=0.8, ls=style.CHANCE_CHOICE[1])
        ax.set_title(label)
    axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set(xlim=(0, None), ylim=(-0.03, 1.03))
    style.name_axes(axes, style.EPOCHS, "share of triples")
    handles = [style.key(name, colour) for name, colour in SPLITS.values()]
    handles += [style.key(name, ls=line) for name, line in WAYS.values()]
    handles.append(style.key("guess", style.REFERENCE, lw=0.8, ls=style.CHANCE_CHOICE[1]))
    note = f"line: mean of {grouping.seed_phrase(table)}; band: one standard deviation"
    return style.finish(figure, axes, note, handles, columns=2 if len(panels) < 3 else 5)

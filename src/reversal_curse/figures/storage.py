"""What the value side stores and attention reads, and what is known: Jeon et al. 2026."""

from itertools import cycle

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures import grouping, style
from reversal_curse.tables import summaries

READ = {
    "value_rank_reverse": "value side: rank of the answer (stored)",
    "weight_reverse": "attention weight on B (routed)",
}
ANSWERED = {
    "unseen_accuracy_choice": "accuracy among candidates (known)",
    "unseen_accuracy": "accuracy, all tokens (said)",
}
GUESS = "unseen_chance_accuracy"


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """What masked diffusion knows (above) and says (below) of the reverse queries after training,
    against how well the value side alone ranks the answers (left) and how much attention the known
    entity gets (right), a dot for each seed: nothing is known that the value side has not stored,
    but stored facts that attention reads need not be said."""
    final = summaries.final_by_seed(tables["metrics"]).select("run", "seed", *ANSWERED, GUESS)
    table = summaries.last_attention(tables["attention"]).join(final, on=["run", "seed"])
    points = grouping.split_points(table, grouping.varying_settings(table))
    width, height = 2.9 * style.PANEL_WIDTH, 2.3 * style.PANEL_HEIGHT + 1
    figure, grid = style.new_figure(width, height, 2, 2, sharex="col", sharey=True)
    handles = []
    colours = style.shades(range(len(points)))
    for (label, point), colour in zip(points, colours.values(), strict=True):
        look = {"marker": style.ENCODINGS[point["pos_encoding"][0]]["marker"], "ls": ""}
        look |= {"ms": 4.5, "alpha": 0.7, "mec": "white", "mew": 0.4, "color": colour}
        handles.append(style.key(label or "all seeds", colour, marker=look["marker"], ls=""))
        for row, answered in zip(grid, ANSWERED, strict=True):
            for ax, read in zip(row, READ, strict=True):
                ax.plot(point[read], point[answered], **look)
    for row, name in zip(grid, ANSWERED.values(), strict=True):
        row[0].axvline(0.5, color=style.REFERENCE, lw=0.8, ls=style.DASHES, zorder=0)
        for ax in filter(style.is_leftmost, row):
            ax.set_ylabel(name)
    for ax in grid[0]:
        ax.axhline(table[GUESS].mean(), color=style.REFERENCE, lw=0.8, ls=style.DASHES, zorder=0)
    named = grid if style.grid_of(grid[0, 0]).ncols == 1 else grid[1:]
    for ax, name in zip(named.flat, cycle(READ.values()), strict=False):
        ax.set(xlabel=name, xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        ax.tick_params(labelbottom=True)
    note = (
        "reverse queries, B is [M]; last layer, mean over facts and heads; dots: "
        f"{grouping.seed_phrase(table)}\n"
        "left: share of the other candidates for which a head would write less than for the answer "
        "if it attended to B alone; dashed: guess"
    )
    return style.finish(figure, grid.flat, note, handles, columns=2)

"""Forward and reverse attention scores, and their correlation: Jeon et al. 2026."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reversal_curse.config.settings import in_words
from reversal_curse.figures import grouping, marks, style
from reversal_curse.tables import summaries

CORRELATION = "correlation of S$_{fwd}$, S$_{rev}$"


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Attention scores of the masked token for the known entity in both layouts of a fact, and
    their correlation over facts: before training by displacement, then during and after it for
    each masking arm, beside the closed form for rotary positions."""
    attention = tables["attention"]
    correlations = summaries.score_correlations(attention)
    correlations = correlations.filter(pl.col("correlation").is_finite())
    arms = [arm for _, arm in grouping.split_points(correlations, ["masking"])]
    columns = 1 + len(arms)
    figure, (top, bottom) = style.new_figure(3.77 * columns, 6.68, 2, columns)
    _draw_scores(top[0], attention)
    colours = style.shades(sorted(correlations["head_dim"].unique()), "plasma", low=0.05, high=0.75)
    # All arms start from the same weights; the one with the most distances is drawn.
    widest = max(arms, key=lambda arm: arm["displacement"].n_unique())
    _draw_distances(bottom[0], widest.filter(epoch=0), colours)
    bottom[0].set_title("before training")
    for during, after, arm in zip(top[1:], bottom[1:], arms, strict=True):
        masking = in_words("masking", arm["masking"][0])
        _draw_training(during, arm)
        during.set_title(f"{masking}; during training, d$_h$ = {max(colours)}")
        _draw_distances(after, arm.filter(summaries.LAST), colours)
        after.set_title(f"{masking}; after training")
    keys = [style.key(f"d$_h$ = {d}", c, marker="o", ls="") for d, c in colours.items()]
    for encoding in grouping.values_of(correlations, "pos_encoding"):
        look = style.ENCODINGS[encoding]
        keys.append(style.key(in_words("pos_encoding", encoding), style.REFERENCE, **look))
    keys.append(style.key("ρ(D) for rotary positions, isotropic q and k", style.REFERENCE, lw=2))
    note = (
        "scores of the masked token for the known entity, in “[M] is B” (forward) and “B is [M]” "
        "(reverse), before the softmax; correlation over the facts of a seed, mean over layers and "
        f"heads\ndots: {grouping.seed_phrase(attention)}, bars and lines: mean, bands: one "
        "standard deviation; a: every fact and seed, centred and scaled by head"
    )
    return style.finish(figure, [*top, *bottom], note, keys)


def _draw_scores(ax: Axes, attention: pl.DataFrame) -> None:
    """Draw standardised scores of one grid point: rotary, nearest entities, largest heads."""
    rotary = attention.filter(pos_encoding="rotary")
    table = attention if rotary.is_empty() else rotary
    for setting in ("displacement", "heads"):
        table = table.filter(pl.col(setting) == pl.col(setting).min())
    _, one = grouping.split_points(table)[0]
    scores, head = pl.col("score_forward", "score_reverse"), ["seed", "epoch", "layer", "head"]
    standardised = one.with_columns((scores - scores.mean().over(head)) / scores.std().over(head))
    looks = (0, style.BEFORE, "before"), (one["epoch"].max(), style.AFTER, "after")
    for epoch, colour, when in looks:
        part = standardised.filter(epoch=epoch)
        x, y = part["score_forward"], part["score_reverse"]
        ax.plot(x, y, "o", ms=2.5, mew=0, alpha=0.55, color=colour, label=f"{when} training")
    ends = ax.get_xlim()
    ax.plot(ends, ends, color=style.REFERENCE, lw=0.7, ls=style.DASHES, zorder=0)
    ax.set(xlabel="S$_{fwd}$ (standardised)", ylabel="S$_{rev}$ (standardised)")
    point = one.row(0, named=True)
    masking, encoding = (in_words(name, point[name]) for name in ("masking", "pos_encoding"))
    dim = point["embed_dim"] // point["heads"]
    ax.set_title(f"{masking}; {encoding}, D = {point['displacement']}, d$_h$ = {dim}")
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.2 * (top - bottom))  # room for the legend above the dots
    ax.legend(loc="upper left", handletextpad=0.1)


def _draw_training(ax: Axes, correlations: pl.DataFrame) -> None:
    """Draw mean and standard deviation of the correlation over seeds, at the largest heads."""
    table = correlations.filter(pl.col("head_dim") == pl.col("head_dim").max())
    colours = style.shades(sorted(table["displacement"].unique()))
    for _, point in grouping.split_points(table, ["displacement", "pos_encoding"]):
        displacement = point["displacement"][0]
        look = style.ENCODINGS[point["pos_encoding"][0]] | {"color": colours[displacement]}
        look |= {"ms": 2.5, "label": f"D = {displacement}", "limits": (-1, 1)}
        marks.draw_mean_and_band(ax, point, "correlation", opacity=0.1, **look)  # bands overlap
    ax.axhline(0, color=style.REFERENCE, lw=0.6)
    ax.set_xscale("symlog", linthresh=1)
    ax.set(xlim=(0, None), ylim=(-1.05, 1.05), xlabel=style.EPOCHS, ylabel=CORRELATION)
    handles, labels = ax.get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))  # one of several encodings is enough
    ax.legend(by_label.values(), by_label, loc="lower left", ncols=2)


def _draw_distances(ax: Axes, table: pl.DataFrame, colours: dict) -> None:
    """Draw the correlation against D: every seed, and the closed form for rotary positions."""
    displacements = sorted(table["displacement"].unique())
    columns = grouping.split_points(table, ["pos_encoding", "head_dim"])
    for offset, (_, column) in zip(marks.spread(len(columns), 0.3), columns, strict=True):
        dim, encoding = column["head_dim"][0], column["pos_encoding"][0]
        marker = style.ENCODINGS[encoding]["marker"]
        for _, part in grouping.split_points(column, ["displacement"]):
            displacement = part["displacement"][0]
            x = displacements.index(displacement) + offset
            marks.draw_dots(ax, x, part["correlation"], colours[dim], marker)
            if encoding == "rotary":
                rho = summaries.rotary_correlation(displacement, dim, part["rotated"][0])
                ax.plot([x - 0.11, x + 0.11], [rho] * 2, color=style.REFERENCE, lw=1.5, zorder=4)
    ax.axhline(0, color=style.REFERENCE, lw=0.6)
    ax.set_xticks(range(len(displacements)), displacements)
    ax.set(xlim=(-0.6, len(displacements) - 0.4), ylim=(-1.05, 1.05))
    ax.set(xlabel="displacement D (positions)", ylabel=CORRELATION)

"""Forward and reverse attention scores, and their correlation: Jeon et al. 2026."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reversal_curse.config.settings import in_words
from reversal_curse.figures import style
from reversal_curse.figures.grouping import seed_phrase, split_points, values_of
from reversal_curse.figures.marks import draw_dots, draw_mean_and_band, spread
from reversal_curse.tables.summaries import LAST, rotary_correlation, score_correlations

CORRELATION = "correlation of S$_{fwd}$, S$_{rev}$"


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Attention scores of the masked token for the known entity in both layouts of a fact, and
    their correlation over facts: before training by displacement, then during and after it for
    each masking arm, beside the closed form for rotary positions."""
    attention = tables["attention"]
    correlations = score_correlations(attention).filter(pl.col("correlation").is_finite())
    arms = split_points(correlations, ["masking"])
    columns = 1 + len(arms)
    size = (1.45 * style.PANEL_WIDTH * columns, 2.6 * style.PANEL_HEIGHT + 0.7)
    figure, (top, bottom) = style.new_figure(*size, 2, columns)
    _draw_scores(top[0], attention)
    dims = sorted(correlations["head_dim"].unique())
    colours = style.shades(dims, "plasma", low=0.05, high=0.75)
    # Arms start from the same weights; the one with the most distances shows them.
    _, widest = max(arms, key=lambda arm: arm[1]["displacement"].n_unique())
    _draw_distances(bottom[0], widest.filter(pl.col("epoch") == 0), colours)
    bottom[0].set_title("before training")
    for during, after, (_, table) in zip(top[1:], bottom[1:], arms, strict=True):
        arm = in_words("masking", table["masking"][0])
        _draw_training(during, table)
        during.set_title(f"{arm}; during training, d$_h$ = {max(dims)}")
        _draw_distances(after, table.filter(LAST), colours)
        after.set_title(f"{arm}; after training")
    handles = [style.key(f"d$_h$ = {d}", c, marker="o", ls="") for d, c in colours.items()]
    for encoding in values_of(correlations, "pos_encoding"):
        look = {"marker": style.encoding_marker(encoding), "ls": style.encoding_line(encoding)}
        handles.append(style.key(in_words("pos_encoding", encoding), style.REFERENCE, **look))
    closed_form = "ρ(D) for rotary positions, isotropic q and k"
    handles.append(style.key(closed_form, style.REFERENCE, lw=2))
    note = (
        "scores of the masked token for the known entity, in “[M] is B” (forward) and “B is [M]” "
        "(reverse), before the softmax; correlation over the facts of a seed, mean over layers and "
        f"heads\ndots: {seed_phrase(attention)}, bars and lines: mean, bands: one standard "
        "deviation; a: every fact and seed, centred and scaled by head"
    )
    style.finish(figure, [*top, *bottom], note, handles)
    return figure


def _draw_scores(ax: Axes, attention: pl.DataFrame) -> None:
    """Standardised scores of one grid point: rotary, the shortest way, the largest heads."""
    rotary = attention.filter(pl.col("pos_encoding") == "rotary")
    table = attention if rotary.is_empty() else rotary
    table = table.filter(pl.col("displacement") == pl.col("displacement").min())
    table = table.filter(pl.col("heads") == pl.col("heads").min())
    _, one = split_points(table)[0]
    head = ["seed", "epoch", "layer", "head"]
    standardised = one.with_columns(
        (pl.col(name) - pl.col(name).mean().over(head)) / pl.col(name).std().over(head)
        for name in ("score_forward", "score_reverse")
    )
    looks = (0, style.BEFORE, "before"), (one["epoch"].max(), style.AFTER, "after")
    for epoch, colour, when in looks:
        part = standardised.filter(pl.col("epoch") == epoch)
        x, y = part["score_forward"], part["score_reverse"]
        ax.plot(x, y, "o", ms=2.5, mew=0, alpha=0.55, color=colour, label=f"{when} training")
    ends = ax.get_xlim()
    ax.plot(ends, ends, color=style.REFERENCE, lw=0.7, ls=style.DASHES, zorder=0)
    ax.set(xlabel="S$_{fwd}$ (standardised)", ylabel="S$_{rev}$ (standardised)")
    encoding = in_words("pos_encoding", one["pos_encoding"][0])
    dim = one["embed_dim"][0] // one["heads"][0]
    arm = in_words("masking", one["masking"][0])
    ax.set_title(f"{arm}; {encoding}, D = {one['displacement'][0]}, d$_h$ = {dim}")
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.2 * (top - bottom))  # the legend stands above the dots
    ax.legend(loc="upper left", handletextpad=0.1)


def _draw_training(ax: Axes, correlations: pl.DataFrame) -> None:
    """Mean and standard deviation of the correlation over seeds, at the largest heads."""
    table = correlations.filter(pl.col("head_dim") == pl.col("head_dim").max())
    displacements = sorted(table["displacement"].unique())
    for displacement, colour in style.shades(displacements).items():
        part = table.filter(pl.col("displacement") == displacement)
        encodings = values_of(part, "pos_encoding")
        for _, one in split_points(part, ["pos_encoding"]):
            encoding = one["pos_encoding"][0]
            label = f"D = {displacement}" if encoding == encodings[-1] else None
            look = {"ls": style.encoding_line(encoding), "marker": style.encoding_marker(encoding)}
            look |= {"color": colour, "ms": 2.5, "label": label}
            # Up to six bands overlap.
            draw_mean_and_band(ax, one, "correlation", opacity=0.1, **look)
    ax.axhline(0, color=style.REFERENCE, lw=0.6)
    ax.set_xscale("symlog", linthresh=1)
    ax.set(xlim=(0, None), ylim=(-1.05, 1.05), xlabel="epoch", ylabel=CORRELATION)
    ax.legend(loc="lower left", ncols=2)


def _draw_distances(ax: Axes, table: pl.DataFrame, colours: dict) -> None:
    """Correlation against D: every seed, and the closed form for rotary positions."""
    displacements = sorted(table["displacement"].unique())
    place = {displacement: index for index, displacement in enumerate(displacements)}
    columns = split_points(table, ["pos_encoding", "head_dim"])
    for offset, (_, column) in zip(spread(len(columns), 0.3), columns, strict=True):
        dim, encoding = column["head_dim"][0], column["pos_encoding"][0]
        for _, part in split_points(column, ["displacement"]):
            x = place[part["displacement"][0]] + offset
            draw_dots(ax, x, part["correlation"], colours[dim], style.encoding_marker(encoding))
            if encoding == "rotary":
                rho = rotary_correlation(part["displacement"][0], dim, part["rotated"][0])
                ax.plot([x - 0.11, x + 0.11], [rho] * 2, color=style.REFERENCE, lw=1.5, zorder=4)
    ax.axhline(0, color=style.REFERENCE, lw=0.6)
    ax.set_xticks(range(len(displacements)), displacements)
    ax.set(xlim=(-0.6, len(displacements) - 0.4), ylim=(-1.05, 1.05))
    ax.set(xlabel="displacement D (positions)", ylabel=CORRELATION)

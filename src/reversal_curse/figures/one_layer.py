"""The one-layer transformer: bounds over training, and weights. Zhu et al. 2024, section 4."""

from itertools import pairwise

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from reversal_curse.config.settings import in_words
from reversal_curse.figures import grouping, style
from reversal_curse.tables import summaries

TITLES = {
    "reversal": ("seen direction", "direction held out"),
    "chain": ("A → B and B → C", "A ⇝ C held out"),
}


def draw_bounds(tables: dict[str, pl.DataFrame]) -> Figure:
    """Bounds on the one-layer transformer over training, a row for each task. Left: 1 - p of what
    is trained. Right: M p of what is held out."""
    bounds = summaries.one_layer_bounds(tables["sentence_nll"])
    rows = grouping.split_points(bounds, ["task"])
    size = (2.7 * style.PANEL_WIDTH, (len(rows) + 0.25) * 1.1 * style.PANEL_HEIGHT)
    figure, grid = style.new_figure(*size, len(rows), 2)
    colours = style.shades(sorted(bounds["tokens"].unique()))
    for (seen, held_out), (name, table) in zip(grid, rows, strict=True):
        for _, point in grouping.split_points(table, ["tokens"]):
            colour = colours[point["tokens"][0]]
            _draw_seen(seen, point.filter(split="train"), colour)
            _draw_worst(held_out, point.filter(split="unseen"), "ratio", colour)
        held_out.axhline(1, color=style.REFERENCE, ls=style.DASHES, lw=1)
        seen.set(yscale="log", ylim=(None, 2), ylabel="1 − p of the answer")
        if seen.get_legend_handles_labels()[0]:
            seen.legend(loc="lower left")
        far_below = table.filter(split="unseen")["ratio"].lt(0.9).any()
        held_out.set(**({"yscale": "log"} if far_below else {"ylim": (0, 1.25)}))
        held_out.set_ylabel("M p of the answer")
        titles = TITLES.get(table["task"][0], ("trained", "held out"))
        for ax, title in zip((seen, held_out), titles, strict=True):
            ax.set(xscale="log", title=f"{name}: {title}" if name else title)
    for ax in grid[-1]:
        ax.set_xlabel("visits of every sentence, t / N")
    handles = [style.key(f"M = {number}", colour) for number, colour in colours.items()]
    handles.append(style.key("bound of the theory", style.REFERENCE, ls=style.DASHES))
    note = (
        "facts of which one sentence is held out; line: worst sentence, mean of "
        f"{grouping.seed_phrase(bounds)}\n"
        "bounds: left, 1 − p ≤ (M − 1) (M η t / N)$^{-c}$ with the largest c that holds for all t "
        "(and at the end alone); η: learning rate of Y; right, M p ≤ 1"
    )
    return style.finish(figure, grid.flat, note, handles)


def draw_weights(tables: dict[str, pl.DataFrame]) -> Figure:
    """Effective weights from entity to entity at the end of training, a map of one seed for each
    grid point; the numbers below are of all seeds."""
    weights = tables["weights"]
    panels = grouping.split_points(weights)
    width = 1.3 * style.PANEL_WIDTH * len(panels) + 0.3
    figure, grid = style.new_figure(width, 4.1 if len(panels) > 1 else 4.5, 1, len(panels))
    for ax, (label, table) in zip(grid.flat, panels, strict=True):
        image = _draw_weights(ax, table.filter(seed=table["seed"].min()))
        figure.colorbar(image, ax=ax, shrink=0.75, pad=0.02, label="weight (nats)")
        dim = in_words("embed_dim", table["embed_dim"][0])
        ax.set_title(label if dim in label else ", ".join(filter(None, [label, dim])))
        ax.set_xlabel(_numbers(table), fontsize=style.points(7))
    note = (
        "rows: from; columns: to; within a role train facts come first, and behind the thin line "
        f"those of which a sentence is held out\n{grouping.maps_phrase(weights)}; "
        "contrast: weight to the partner minus that to the others"
    )
    return style.finish(figure, grid.flat, note)


def _draw_seen(ax: Axes, table: pl.DataFrame, colour: object) -> None:
    """Draw 1 - p of the worst sentence, and the bound with the largest c that always holds."""
    _draw_worst(ax, table, "missing", colour)
    table = table.drop_nulls("exponent")
    if table.is_empty():
        return
    c = table.select(pl.col("exponent").min()).item()
    line = table.unique("epoch").sort("epoch")
    bound = ((line["tokens"] - 1) * line["progress"] ** -c).to_numpy()
    last = table.filter(pl.col("epoch") == pl.col("epoch").max())["exponent"].min()
    label = f"c = {c:.2f}; at the end {last:.2f}"
    ax.plot(line["epoch"], bound, color=colour, ls=style.DASHES, lw=1, label=label)


def _draw_worst(ax: Axes, table: pl.DataFrame, column: str, colour: object) -> None:
    by_seed = table.group_by("seed", "epoch").agg(pl.col(column).max())
    mean = by_seed.group_by("epoch").agg(pl.col(column).mean()).sort("epoch")
    ax.plot(mean["epoch"], mean[column], color=colour)


def _draw_weights(ax: Axes, table: pl.DataFrame) -> AxesImage:
    sources = table.select("source_role", "source", "pair_split").unique(maintain_order=True)
    size = sources.height
    image = ax.imshow(table["weight"].to_numpy().reshape(size, size), cmap="viridis")
    roles, splits = (
        [i for i, (before, here) in enumerate(pairwise(sources[name]), 1) if before != here]
        for name in ("source_role", "pair_split")
    )  # where they change
    for edge in roles + sorted({*splits} - {*roles}):
        width = 1.2 if edge in roles else 0.4
        ax.axhline(edge - 0.5, color="white", linewidth=width)
        ax.axvline(edge - 0.5, color="white", linewidth=width)
    starts = [0, *roles, size]
    middles = [(low + high) / 2 - 0.5 for low, high in pairwise(starts)]
    names = [sources["source_role"][low] for low in starts[:-1]]
    ax.set_xticks(middles, names)
    ax.set_yticks(middles, names)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    return image


def _numbers(table: pl.DataFrame) -> str:
    if "C" in table["source_role"]:
        shown = ["contrast of held-out chains"]
        contrasts = summaries.partner_contrasts(table).filter(pair_split="validation")
        for source, target in ("AB", "BC", "AC"):
            part = contrasts.filter(source_role=source, target_role=target)
            by_seed = part.group_by("seed").agg(pl.col("contrast").mean()).sort("seed")["contrast"]
            numbers = grouping.mean_and_spread(by_seed) if len(by_seed) else "too few entities"
            shown.append(f"{source} to {target}: {numbers}")
        return "\n".join(shown)
    shown = ["asymmetry, 0 (none) to 1"]
    for split, name in (("train", "train pairs"), ("validation", "one direction held out")):
        index = summaries.asymmetry(table).filter(pair_split=split)["asymmetry"]
        if len(index):
            shown.append(f"{name}: {grouping.mean_and_spread(index, 2)}")
    return "\n".join(shown)

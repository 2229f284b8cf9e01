"""Remedies against the curse side by side: what each repairs, and what it costs."""

import textwrap
from functools import partial
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.config.settings import in_words, settings_of
from reversal_curse.figures import grouping, marks, style
from reversal_curse.tables.remedies import CONDITIONS, bench

MIXTURES = "mixtures"
KINDS = ("none", "data", "objective", "architecture", "optimisation", MIXTURES)
# By column of the bench, the title of a panel.
PANELS = {
    "said": "said",
    "known": "known",
    "echo": "echo",
    "forward": "forward",
    "wrong": "wrong inverses",
    "cost": "sentences",
}
MEANINGS = (
    "said: accuracy of the inverse; known: accuracy among the candidates; echo: says an entity of "
    "the prompt\nforward: accuracy of the facts trained in one order; wrong inverses: given by a "
    "relation that has none; sentences: trained on, by those without a remedy"
)
ROW, LEAST = 0.085, 0.2  # inches, of a colour and of an arm
LABEL = 28  # letters


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """What every remedy changes after training, a row for each, by kind: what is said of the
    inverse and what is known of it; how often the prompt is echoed; and the cost: accuracy of the
    forward facts, inverses given by a relation that has none, and training sentences. Dots are
    seeds, bars their mean, thin lines the level without a remedy; conditions differ by colour, and
    by block of panels."""
    cost = pl.col("sentences") / pl.col("none_sentences")
    table = bench(tables["metrics"]).with_columns(cost=cost)
    varied = [name for name in grouping.varying_settings(table) if name in CONDITIONS]
    by_colour = ["pos_encoding"] if "pos_encoding" in varied else varied[:1]
    names = [name for name in varied if name not in by_colour]
    plain = map(settings_of, table.filter(kind="none").head(1).to_dicts())
    none = {in_words(*setting) for settings in plain for setting in vars(settings).items()}
    kind, row = pl.col("kind"), pl.struct("label", *varied)
    table = table.with_columns(
        kind=pl.when(kind.str.contains(" + ", literal=True)).then(pl.lit(MIXTURES)).otherwise(kind),
        arm=row.map_elements(partial(_arm, none=none), return_dtype=pl.String),
    )
    colours = style.colours_of(label for label, _ in grouping.split_points(table, by_colour))
    offsets = dict(zip(colours, marks.spread(len(colours), 0.3), strict=True))
    blocks = [(label, part, _rows(part)) for label, part in grouping.split_points(table, names)]
    panels = [name for name in PANELS if table[name].is_not_null().any()]
    heights = [len(rows) * max(LEAST, ROW * (len(colours) + 0.7)) for *_, rows in blocks]
    size = (2.15 * len(panels), sum(heights) + 0.45 * len(blocks) + style.OUTSIDE)
    figure, grid = style.new_figure(*size, len(blocks), len(panels), height_ratios=heights)
    for axes, (label, block, rows) in zip(grid, blocks, strict=True):
        for ax, value in zip(axes, panels, strict=True):
            for name, part in grouping.split_points(block, by_colour):
                for place, (kind, arm) in enumerate(rows):
                    seeds = part.filter(kind=kind, arm=arm)[value].drop_nulls()
                    place = place + offsets[name]
                    marks.draw_dots(ax, place, seeds, colours[name], lying=True)
                level = part.filter(kind="none").select(pl.col(value).mean()).item()
                if level is not None:
                    words = ", ".join(filter(None, ["without a remedy", name]))
                    ax.axvline(level, color=colours[name], lw=0.7, zorder=0, label=words)
            # Heads of kinds are bold.
            ax.set_yticks(range(len(rows)), [textwrap.fill(arm or k, LABEL) for k, arm in rows])
            for text, (_, arm) in zip(ax.get_yticklabels(), rows, strict=True):
                text.set_fontweight("normal" if arm else "bold")
            ax.set(ylim=(len(rows) - 0.4, -0.6), title=PANELS[value])
            ax.grid(axis="y", color="#E5E5E5", lw=0.5)
            ax.set_axisbelow(True)
            if value != "cost":
                ax.set_xlim(-0.06, 1.06)
        for ax in axes:
            first = style.is_leftmost(ax)
            ax.tick_params(axis="y", length=0, labelleft=first)
            ax.set_ylabel(label, visible=first)
        if "known" in panels:
            level = block.select(pl.col("unseen_chance_accuracy").mean()).item()
            look: dict[str, Any] = {"color": style.REFERENCE, "lw": 0.8, "zorder": 0}
            axes[panels.index("known")].axvline(level, ls=style.CHANCE_CHOICE[1], **look)
    handles = [style.key(name, c, marker="o", ls="") for name, c in colours.items() if name]
    handles.append(style.key("without a remedy", lw=0.7))
    name, line = style.CHANCE_CHOICE
    handles.append(style.key(name, style.REFERENCE, lw=0.8, ls=line))
    note = f"after the last epoch; dots: {grouping.seed_phrase(table)}; bars: mean\n{MEANINGS}"
    return style.finish(figure, [], note, handles)  # panels have titles in place of letters


def _arm(point: dict[str, Any], none: set[str]) -> str:
    """Leave conditions, and what is as without a remedy, out of the label of a grid point."""
    label = point.pop("label").split(", ")
    told = none | {in_words(name, value) for name, value in point.items()}
    return ", ".join(word for word in label if word not in told) or "none"


def _rows(block: pl.DataFrame) -> list[tuple[str, str]]:
    """List kind and arm by row, in the config's order; a kind has a row of its own without arm."""
    rows = []
    for kind in KINDS:
        arms = block.filter(kind=kind)["arm"].unique(maintain_order=True)
        rows += [(kind, "")] if len(arms) and kind != "none" else []
        rows += [(kind, arm) for arm in arms]
    return rows

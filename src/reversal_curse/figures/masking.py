"""Which tokens are ever masked decides what is known in reverse: Jeon et al. 2026."""

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.figures import style
from reversal_curse.figures.grouping import seed_phrase, split_points, varying_settings
from reversal_curse.figures.marks import draw_chance, draw_dots
from reversal_curse.tables.summaries import final_values
from reversal_curse.tasks.masking_arms import MASKINGS

NAMES = {"train": "A is ? (order as trained)", "unseen": "B is ? (reverse query)"}


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss of the training sentences and of the unseen ones after the last epoch by the tokens that
    are ever masked, a panel for each of the other settings: dots are seeds, bars their mean."""
    last = final_values(tables["metrics"])
    others = [name for name in varying_settings(last) if name != "masking"]
    panels = split_points(last, others or ["pos_encoding"])
    size = (1.3 * style.PANEL_WIDTH, 1.2 * style.PANEL_HEIGHT)
    figure, axes = style.panel_grid(len(panels), *size, (0, 0.7), sharey=True)
    for ax, (label, table) in zip(axes, panels, strict=True):
        arms = split_points(table, ["masking"])
        for place, (_, arm) in enumerate(arms):
            for offset, (split, colour) in zip((-0.17, 0.17), style.COLOURS.items(), strict=True):
                values = arm.filter(pl.col("split") == split)["nll_token"]
                draw_dots(ax, place + offset, values, colour, style.SPLIT_MARKERS[split])
        ax.set_xticks(range(len(arms)), [_arm_name(arm) for _, arm in arms])
        ax.set_xlabel("tokens of “A is B” that are ever masked")
        ax.set_title(label)
        draw_chance(ax, table)
    axes[0].set_ylim(bottom=-0.03 * axes[0].get_ylim()[1])  # dots at 0 are seen whole
    for ax in axes[:: style.MAX_COLUMNS]:
        ax.set_ylabel("negative log-likelihood (nats)")
    handles = [
        style.key(name, style.COLOURS[split], marker=style.SPLIT_MARKERS[split], ls="")
        for split, name in NAMES.items()
    ]
    chance = "dashed: guess among all tokens; dotted: guess among the entities of the class"
    style.finish(figure, axes, f"dots: {seed_phrase(last)}; bars: mean; {chance}", handles)
    return figure


def _arm_name(table: pl.DataFrame) -> str:
    arm = table["masking"][0]
    name = MASKINGS[arm].label if arm in MASKINGS else arm
    return name.replace(" ", "\n", 1) if len(name) > 8 else name

"""Loss against epoch, one panel per grid point: Zhu et al. 2024, figures 1, 5, 8, 10."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reversal_curse.config.settings import settings_of
from reversal_curse.figures import grouping, marks, style
from reversal_curse.tasks import TASKS

WORD_STYLE = (0, (4, 1.5))
# The chance levels beside the parts of a loss.
PARTS = {"chance_choice": style.CHANCE_CHOICE, "chance_vocab": style.CHANCES["chance_vocab"]}
LONG_TITLE = 32  # characters; if one is longer, all take two lines


def draw(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss of the training sentences and of the unseen ones against the epoch, a panel for each
    grid point, and in green the unseen loss among the possible answers alone: at its chance level
    nothing is known of the unseen direction, whatever is said. Mean over seeds with a band of one
    standard deviation, and chance levels."""
    return _panels(tables["metrics"], {"nll_token": "-"})


def draw_with_words(tables: dict[str, pl.DataFrame]) -> Figure:
    """Loss of the training sentences and of the unseen ones against the epoch, a panel for each
    grid point: solid for the first token of the answer, dashed for the whole answer, and in green
    the unseen loss among the possible answers alone: at its chance level nothing is known of the
    unseen direction. Mean over seeds with a band of one standard deviation, and chance levels."""
    return _panels(tables["metrics"], {"nll_token": "-", "nll_word": WORD_STYLE})


def _panels(metrics: pl.DataFrame, losses: dict) -> Figure:
    """Draw the columns `losses`, each with its line style."""
    panels = _titled_points(metrics)
    single, words = len(panels) == 1, "nll_word" in losses
    answer = losses.get("nll_word", "-")  # the line of whole answers
    wide = 1.55 * style.PANEL_WIDTH if single else style.PANEL_WIDTH
    high = (1.35 if single or words else 1.0) * style.PANEL_HEIGHT
    figure, axes = style.panel_grid(len(panels), wide, high, (0, 0.55), sharex=True, sharey=True)
    for ax, (label, all_seeds) in zip(axes, panels, strict=True):
        table = _titled(ax, label, all_seeds, "nll_token")
        for column, line in losses.items():
            for split, colour in style.COLOURS.items():
                part = table.filter(split=split)
                width = 2.2 if split == "train" else 1.2  # so that both show where they coincide
                marks.draw_mean_and_band(ax, part, column, color=colour, ls=line, lw=width)
        unseen = table.filter(split="unseen").drop_nulls("nll_choice")
        marks.draw_mean_and_band(ax, unseen, "nll_choice", color=style.KNOWN, lw=1.2, ls=answer)
        level = all_seeds.filter(split="unseen").select(pl.col("chance_choice").mean()).item()
        # Above the line, which it often coincides with.
        ax.axhline(level, color="black", lw=0.8, ls=style.CHANCE_CHOICE[1], zorder=3)
        point = settings_of(all_seeds.row(0, named=True))
        marks.draw_chance(ax, all_seeds, TASKS[point.task].answer_length(point) if words else 1)
    _frame(axes, metrics, "negative log-likelihood (nats)")
    names = style.split_names(metrics)
    lines = [style.key(name, style.COLOURS[split]) for split, name in names.items()]
    lines.append(style.key(f"{names['unseen']}, among candidates", style.KNOWN, ls=answer))
    levels = [style.key(n, style.REFERENCE, lw=0.8, ls=ls) for n, ls in style.CHANCES.values()]
    levels.append(style.key(style.CHANCE_CHOICE[0], lw=0.8, ls=style.CHANCE_CHOICE[1]))
    note = f"line: mean of {grouping.seed_phrase(metrics)}; band: one standard deviation"
    if words:
        lines.append(style.key("first token"))
        levels.append(style.key("whole entity", ls=WORD_STYLE))
        # With shared tokens, the first one may not tell the class; the whole word does.
        word = set(metrics["task"]) == {"chain_related"}
        note += "\nchance, vocabulary: of one token (ln) and of all n (n ln); "
        note += f"chance, entity class: of {'a whole entity' if word else 'one token'}"
    if len(panels) < 3:  # so that the legend is no wider than the panels
        return style.finish(figure, axes, note, lines + levels, columns=2)
    pairs = [handle for pair in zip(lines, levels, strict=True) for handle in pair]
    return style.finish(figure, axes, note, pairs, columns=len(lines))


def draw_parts(tables: dict[str, pl.DataFrame]) -> Figure:
    """The unseen loss against the epoch, in two parts: which of the possible answers it is (green),
    and that it is one of them at all (orange), beside the loss of a guess among them and of one
    among all tokens; a panel for each grid point, mean over seeds."""
    metrics = tables["metrics"].drop_nulls("nll_choice")
    panels = _titled_points(metrics)
    size = (style.PANEL_WIDTH, style.PANEL_HEIGHT)
    figure, axes = style.panel_grid(len(panels), *size, (0.6, 0.7), sharex=True, sharey=True)
    for ax, (label, all_seeds) in zip(axes, panels, strict=True):
        table = _titled(ax, label, all_seeds, "nll_word")
        shown = pl.col("nll_choice", "nll_set", "chance_choice", "chance_vocab").mean()
        means = table.filter(split="unseen").group_by("epoch").agg(shown).sort("epoch")
        parts = means["nll_choice"], means["nll_set"]
        colours = [style.KNOWN, style.COLOURS["unseen"]]
        ax.stackplot(means["epoch"], *parts, colors=colours, alpha=0.65, lw=0)
        for level, (_, line) in PARTS.items():
            ax.plot(means["epoch"], means[level], color="black", lw=0.8, ls=line)
    _frame(axes, metrics, "unseen loss (nats)")
    handles = [
        Patch(color=style.KNOWN, alpha=0.65, lw=0, label="which of the candidates"),
        Patch(color=style.COLOURS["unseen"], alpha=0.65, lw=0, label="that it is a candidate"),
        *(style.key(name, lw=0.8, ls=line) for name, line in PARTS.values()),
    ]
    note = (
        f"mean of {grouping.seed_phrase(metrics)}; whole answers; candidates: the answers of all "
        "unseen questions of the same kind"
    )
    return style.finish(figure, axes, note, handles, columns=2)


def _titled_points(metrics: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Split a table by grid point; break all titles if one is long."""
    points = grouping.split_points(metrics)
    if max(len(label) for label, _ in points) <= LONG_TITLE:
        return points
    return [(style.in_two_lines(label, ", "), table) for label, table in points]


def _titled(ax: Axes, label: str, seeds: pl.DataFrame, loss: str) -> pl.DataFrame:
    """Title the panel of a grid point; return its table without the seeds that diverged."""
    table, diverged = grouping.without_diverged(seeds, loss)
    if diverged:
        label = f"{label}\n{diverged} of {seeds['seed'].n_unique()} seeds diverged"
    ax.set_title(label)
    return table


def _frame(axes: list[Axes], metrics: pl.DataFrame, loss: str) -> None:
    """Name and limit the shared axes, once every panel is drawn."""
    axes[0].set_ylim(bottom=0)
    axes[0].set_xlim(0, metrics.select(pl.col("epoch").max()).item())
    style.name_axes(axes, "epoch", loss)

"""Pretrained models, forward and reverse, before and after fine-tuning: Jeon et al. 2026."""

from itertools import cycle, product

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from reversal_curse.figures import grouping, marks, style
from reversal_curse.tables.pretrained_summaries import answer_means, head_correlations

DIRECTIONS = {"forward": -0.21, "reverse": 0.21}  # and their offsets
STAGES = {"before": -0.09, "after": 0.09}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
KIND_NAMES = {
    "masked_diffusion": "masked diffusion",
    "masked_lm": "masked language model",
    "causal": "autoregressive",
}
REVERSAL_NOTE = (
    "asked forward and in reverse, before and after fine-tuning on the forward statements and on "
    "what stands below a name; mean over facts; a: linear up to 1\ndots: runs of the fine-tuning, "
    "bars: their mean; dashed: guess among all tokens (a), among the candidates (c): at most 25 "
    "answers of the relation"
)
ATTENTION_NOTE = (
    "scores of the masked subject for the known object, in the forward sentence and in the reverse "
    "one, before the softmax;\ncorrelation over facts without the means of their relation and "
    "subject length;\nnull: facts shuffled among those; mean over runs of the fine-tuning"
)
GRADIENTS_NOTE = (
    "cosine of the gradients of one fact, forward (masked: of the subject in the forward sentence; "
    "autoregressive: of the object) and reverse, mean over at most five facts; dots: runs of the "
    "fine-tuning, crosses: the reverse\nquestion with another fact's answer; c: change of the "
    "reverse loss by a step along the forward gradient that lowers the forward loss by 1 %; only "
    "where weights are float32; dashed: equal"
)


def draw_reversal(tables: dict[str, pl.DataFrame]) -> Figure:
    """Pretrained models asked forward and in reverse, before and after fine-tuning. Left: loss of
    the right answer and of another fact's. Middle: answers that are said. Right: answers that are
    the most probable of the candidates."""
    models = grouping.models_of(answer_means(tables["pretrained_answers"]))
    width = max(3.9, 1.1 * len(models) + 0.9) * style.PANEL_WIDTH
    names = []
    for name, _, rows in models:
        arm = rows["arm"][0].replace(", ", ",\n").replace("none", "")
        name = style.in_two_lines(name, "_") if len(name) > 12 else name
        names.append(f"\n{name}\n{arm}".rstrip())
    height = 1.4 * style.PANEL_HEIGHT + 0.5 + 0.15 * max(name.count("\n") for name in names)
    figure, [panels] = style.new_figure(width, height, 1, 3)
    loss, said, known = panels
    for place, (_, kind, rows) in enumerate(models):
        for direction, stage in product(DIRECTIONS, STAGES):
            at = place + DIRECTIONS[direction] + STAGES[stage]
            cell = rows.filter(direction=direction, stage=stage)
            colour = style.BEFORE if stage == "before" else style.KIND_COLOURS[kind]
            for ax, value in zip(panels, ("nll", "exact", "accuracy_choice"), strict=True):
                marks.draw_dots(ax, at, cell[value], colour)
            control = cell["nll_shuffled"].mean()
            if control is not None:
                loss.plot(at, control, "x", color=style.REFERENCE, ms=4, mew=0.9)
        chance = {"color": style.REFERENCE, "lw": 0.8, "ls": "--"}
        for ax, level in ((loss, "chance"), (known, "chance_accuracy")):
            ax.plot([place - 0.45, place + 0.45], [rows[level].mean()] * 2, **chance)
    loss.set_yscale("symlog", linthresh=1)  # wrong answers cost up to a hundred nats
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    loss.set_ylabel("negative log-likelihood (nats per token)")
    said.set_ylabel("said: right in every token (fraction)")
    known.set_ylabel("known: right among candidates (fraction)")
    places = [place + at for place in range(len(models)) for at in DIRECTIONS.values()]
    for ax in panels:
        ax.set_xticks(range(len(models)), names)
        ax.tick_params(axis="x", length=0)
        ax.set_xticks(places, ["fwd", "rev"] * len(models), minor=True, fontsize=style.points(6))
        ax.set(xlim=(-0.6, len(models) - 0.4), ylim=(-0.05, None))  # so dots at 0 are not cut off
    after = {f"after: {KIND_NAMES[kind]}": style.KIND_COLOURS[kind] for _, kind, _ in models}
    lines = {"before fine-tuning": style.BEFORE, **after}
    handles = [style.key(name, colour, lw=2) for name, colour in lines.items()]
    handles.append(style.key("another fact's answer", style.REFERENCE, marker="x", ls=""))
    return style.finish(figure, panels, REVERSAL_NOTE, handles)


def draw_attention(tables: dict[str, pl.DataFrame]) -> Figure:
    """Correlation over facts of forward and reverse attention scores by layer and head, a row for
    each pretrained model: left before, right after fine-tuning."""
    if tables["pretrained_scores"].is_empty():
        figure, [[ax]] = style.new_figure(5.2, 1.38)
        ax.remove()
        text = "None of these models has a masked token that looks at what comes after it."
        figure.text(0.5, 0.5, text, ha="center", va="center", color=style.REFERENCE, wrap=True)
        return figure
    models = grouping.models_of(head_correlations(tables["pretrained_scores"]))
    size = (2.8 * style.PANEL_WIDTH, len(models) * style.PANEL_HEIGHT + 0.9)
    figure, grid = style.new_figure(*size, len(models), 2, sharey=True)
    for row, (model, kind, table) in zip(grid, models, strict=True):
        for ax, stage in zip(row, STAGES, strict=True):
            _draw_heads(ax, table.filter(stage=stage), style.KIND_COLOURS[kind])
            ax.set_title(f"{model}, {stage} fine-tuning")
        row[0].set_ylabel("correlation of S$_{fwd}$, S$_{rev}$")
    for ax in grid[-1]:
        ax.set_xlabel("layer")
    handles = [
        style.key("a head", marker="o", ls="", ms=3),
        style.key("mean over heads", lw=1.5),
        Patch(color=style.REFERENCE, alpha=0.25, lw=0, label="95 % of the permutation null, mean"),
    ]
    return style.finish(figure, grid.flat, ATTENTION_NOTE, handles)


def draw_gradients(tables: dict[str, pl.DataFrame]) -> Figure:
    """Cosine of forward and reverse gradients of pretrained models by group of parameters, before
    and after fine-tuning; and the change of the reverse loss by a forward step, predicted and
    actual."""
    models = grouping.models_of(tables["pretrained_gradients"])
    drawn, handles = [], []
    for (name, kind, table), marker in zip(models, cycle(MARKERS), strict=False):
        drawn.append((table, style.KIND_COLOURS[kind], marker))
        handles.append(style.key(name, style.KIND_COLOURS[kind], marker=marker, ls=""))
    size = (4.4 * style.PANEL_WIDTH, 1.4 * style.PANEL_HEIGHT + 0.9)
    figure, [panels] = style.new_figure(*size, 1, 3, width_ratios=(1.3, 1.3, 1))
    *by_stage, change = panels
    by_stage[1].sharey(by_stage[0])  # now, as after drawing it would copy the limits too
    largest = 1e-3
    for ax, stage in zip(by_stage, STAGES, strict=True):
        parts = [(table.filter(stage=stage), colour, m) for table, colour, m in drawn]
        marks.draw_groups(ax, parts, 0.3, ms=3.5, mew=0.8)
        ax.set_title(f"{stage} fine-tuning")
    by_stage[0].set_ylabel("cosine of forward and reverse gradient")
    for table, colour, marker in drawn:
        whole = table.filter(group="all").drop_nulls("actual_change")
        for stage, filled in zip(STAGES, ("none", colour), strict=True):
            part = whole.filter(stage=stage)
            x, y = part["predicted_change"], part["actual_change"]
            change.plot(x, y, marker, ms=4, mec=colour, mfc=filled, ls="")
        largest = max(largest, whole.select(pl.col("predicted_change").abs().max()).item() or 0)
    marks.frame_change(change, [-largest, largest], "nats per token", zorder=2)
    change.tick_params(axis="x", rotation=30)
    return style.finish(figure, panels, GRADIENTS_NOTE, handles, columns=4)


def _draw_heads(ax: Axes, table: pl.DataFrame, colour: str) -> None:
    """Draw the correlation of every head, the mean of every layer, and the null distribution."""
    if table.is_empty():
        ax.text(0.5, 0.5, "not fine-tuned", c=style.REFERENCE, transform=ax.transAxes, ha="center")
        ax.set_xticks([])
        return
    means = pl.col("correlation", "null_low", "null_high").mean()
    heads = table.group_by("layer", "head").agg(means).sort("layer", "head")
    layers = heads.group_by("layer").agg(means).sort("layer")
    ax.plot(heads["layer"], heads["correlation"], "o", color=colour, ms=2.5, mew=0, alpha=0.5)
    edges = [edge for layer in layers["layer"] for edge in (layer - 0.5, layer + 0.5)]
    low, high = (layers[name].to_numpy().repeat(2) for name in ("null_low", "null_high"))
    ax.fill_between(edges, low, high, color=style.REFERENCE, alpha=0.25, lw=0)
    marker = "_" if layers.height == 1 else None
    ax.plot(layers["layer"], layers["correlation"], color=colour, lw=1.5, marker=marker, ms=12)
    ax.axhline(0, color=style.REFERENCE, lw=0.6)
    ax.set(ylim=(-1.05, 1.05), xticks=layers["layer"][:: 1 + layers.height // 12])

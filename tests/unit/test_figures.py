"""Plots of synthetic tables: every one draws any sweep it may, and says what its table says."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import polars as pl
import pytest
from matplotlib.colors import same_color
from PIL import Image

from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import undrawable
from reversal_curse.config.plots import PLOTS
from reversal_curse.families import FAMILIES
from reversal_curse.figures.grouping import split_points, varying_settings
from reversal_curse.figures.logits import LAYOUTS
from reversal_curse.figures.overview import reversal_gap
from reversal_curse.figures.render import draw, draw_figure, save
from reversal_curse.figures.style import REFERENCE
from reversal_curse.tables.summaries import exponents, random_absolute_cosine, score_correlations

from . import synthetic
from .synthetic import gathered, point, settings_of, write_runs


def metrics(points, seeds=3) -> pl.DataFrame:
    rows = [
        {**one, "seed": seed, "epoch": epoch, "split": split, "nll_token": loss + 0.1 * seed}
        | {"nll_word": 2 * loss, "accuracy": 0.5, "chance_vocab": 4.4, "chance_class": 3.0}
        for one in points
        for seed in range(seeds)
        for epoch in (0, 10, 20)
        for split, loss in (("train", 4 - epoch / 5), ("unseen", 4 + epoch / 10))
    ]
    return gathered("metrics", rows)


def logits(points, seeds=3) -> pl.DataFrame:
    rows = [
        {**one, "seed": seed, "group": group, "readout": readout}
        | {"query": query, "candidate": candidate, "logit": 9.0 if query == candidate else seed}
        for one in points
        for seed in range(seeds)
        for part in LAYOUTS.get(one["task"], LAYOUTS["reversal"]).values()
        for group in part
        for readout in ("entity", "entity_relation")
        for query in range(4)
        for candidate in range(4)
    ]
    return gathered("logits", rows)


def embeddings(points, seeds=2) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    roles = [("relation", 0), ("relation", 1), ("A", 0), ("A", 1), ("B", 0), ("unused", 0)]
    rows = [
        {**one, "seed": seed, "token": token, "role": role, "position": position}
        | {"embedding": rng.normal(size=one["embed_dim"]).tolist()}
        for one in points
        for seed in range(seeds)
        for token, (role, position) in enumerate(roles)
    ]
    return gathered("embeddings", rows)


def separation(points, seeds=2, exponent=0.1) -> pl.DataFrame:
    """Losses for which the theorem's bound holds with equality at the given exponent."""
    rows = [
        {**one, "seed": seed, "pair": pair, "epoch": epoch}
        | {"nll_forward": 4 * ratio, "nll_reverse": 5 * ratio**exponent}
        for one in points
        for seed in range(seeds)
        for pair in (0, 1)
        for epoch, ratio in ((0, 1.0), (10, 0.5), (20, 0.01))
    ]
    return gathered("separation", rows)


MAKERS = {
    "metrics": metrics,
    "logits": logits,
    "embeddings": embeddings,
    "separation": separation,
    "sentence_nll": synthetic.sentence_nll,
    "weights": synthetic.weights,
    "attention": synthetic.attention,
    "gradients": synthetic.gradients,
}
GPT, BILINEAR = {"family": "gpt"}, {"family": "bilinear"}
FACTS = {"family": "masked_diffusion", "task": "facts", "pos_encoding": "rotary"}
SWEEPS = {
    "one gpt": [point()],
    "widths": [point(embed_dim=d, heads=1) for d in (16, 32, 64)],
    "truths": [point(tie_head=tied) for tied in (False, True)],
    "rates": [point(learning_rate=rate) for rate in (0.1, 0.01, 1e-3)],
    "words": [point(loss_on=part, entity_length=2) for part in ("answer", "sequence")],
    "tasks": [point(task=task) for task in ("reversal", "chain", "in_context", "chain_related")],
    "families": [point(family=family, vocab_size=v) for family in FAMILIES for v in (20, 80)],
    "much at once": [
        point(dropout=p, tie_head=t, vocab_size=v)
        for p in (0.0, 0.1)
        for t in (False, True)
        for v in (20, 40)
    ],
    "bilinear widths": [point(**BILINEAR, embed_dim=d) for d in (16, 32)],
    "bilinear": [point(**BILINEAR)],
    "one layer": [point(family="one_layer", task=t, vocab_size=80) for t in ("reversal", "chain")],
    "facts": [point(**FACTS)],
    "arms": [point(**FACTS, masking=arm, heads=1) for arm in ("any_order", "either", "relation")],
    "distances": [point(**FACTS, distance=d, heads=h) for d in (1, 3) for h in (1, 4)],
    "both": [
        point(**FACTS | {"family": f, "pos_encoding": e})
        for f in ("gpt", "masked_diffusion")
        for e in ("none", "rotary")
    ],
}
OWN = [name for name, plot in PLOTS.items() if not plot.pretrained]


def drawable() -> list[tuple[str, str]]:
    """Every plot with every sweep that a config may give it."""
    return [
        (plot, sweep)
        for plot in OWN
        for sweep, points in SWEEPS.items()
        if undrawable(plot, [settings_of(one) for one in points]) is None
    ]


def tables_of(plot: str, points: list[dict], **given) -> dict[str, pl.DataFrame]:
    return {
        table: MAKERS[table]([p for p in points if table in FAMILIES[p["family"]].tables], **given)
        for table in PLOTS[plot].tables
    }


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def titles(figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


@pytest.mark.parametrize(("plot", "sweep"), drawable())
def test_a_plot_draws_every_sweep_that_a_config_may_give_it(plot, sweep):
    assert draw(plot, tables_of(plot, SWEEPS[sweep])).axes


def test_every_plot_has_a_sweep_here_and_those_of_metrics_draw_all():
    found = drawable()
    assert {plot for plot, _ in found} == set(OWN)
    for plot in ("curves", "word_curves", "final", "overview"):
        assert {sweep for name, sweep in found if name == plot} == set(SWEEPS)


@pytest.mark.parametrize("plot", OWN)
def test_one_seed_is_enough_and_an_empty_table_is_refused(plot):
    sweep = next(sweep for name, sweep in drawable() if name == plot)
    tables = tables_of(plot, SWEEPS[sweep], seeds=1)
    draw(plot, tables).draw_without_rendering()
    with pytest.raises(UserError, match="no rows"):
        draw(plot, {name: table.clear() for name, table in tables.items()})


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ("truths", ["untied head", "tied head"]),
        ("rates", ["learning rate 0.001", "learning rate 0.01", "learning rate 0.1"]),
        ("words", ["loss on answer", "loss on sequence"]),
    ],
)
def test_curves_title_their_panels_with_what_varies_in_the_order_of_values(sweep, expected):
    assert titles(draw("curves", {"metrics": metrics(SWEEPS[sweep])})) == expected


def test_points_come_in_the_order_of_their_values_and_of_the_choices():
    table = metrics([point(layers=n, pos_encoding=e) for n in (12, 2) for e in ("rotary", "none")])
    assert varying_settings(table) == ["layers", "pos_encoding"]
    labels = [label for label, _ in split_points(table)]
    assert labels == [
        f"{n} layers, {e}" for n in (2, 12) for e in ("no positions", "rotary positions")
    ]


@pytest.mark.parametrize("plot", ["curves", "final", "overview"])
def test_a_family_nobody_knows_is_drawn_in_grey_and_not_left_out(plot):
    table = metrics([point(), point(family="bilinear")])
    other = pl.col("family").replace({"bilinear": "mamba"})
    figure = draw(plot, {"metrics": table.with_columns(other)})
    figure.draw_without_rendering()
    if plot == "final":
        assert "mamba, train" in texts(figure)
        colours = [line.get_color() for line in figure.axes[1].lines]
        assert any(same_color(colour, REFERENCE) for colour in colours)
        assert any(same_color(colour, FAMILIES["gpt"].colour) for colour in colours)


def test_curves_show_mean_and_spread_over_seeds_and_both_chance_levels():
    figure = draw("curves", {"metrics": metrics([point()])})
    train = figure.axes[0].lines[0]
    assert train.get_ydata() == pytest.approx([4.1, 2.1, 0.1], abs=1e-5)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.0, abs=1e-5)  # 0.1 - sd of (0, 0.1, 0.2)
    shown = texts(figure)
    assert "ln 81" in shown
    assert "ln 20" in shown


def test_curves_are_not_cut_off():
    high = pl.when(pl.col("vocab_size") == 800).then(3.0).otherwise(1.0) * pl.col("nll_token")
    table = metrics([point(), point(vocab_size=50)]).with_columns(high.alias("nll_token"))
    figure = draw("curves", {"metrics": table})
    assert figure.axes[0].get_ylim()[1] > table["nll_token"].max()


def test_logit_contrast_is_that_of_the_table():
    table = logits([point()])
    shown = texts(draw("logits", {"logits": table}))
    assert "right − other: 8.0 ± 1.0" in shown  # 9 - mean of (0, 1, 2)
    assert "validation, unseen direction" in shown
    lonely = (pl.col("group") == "unseen") & ((pl.col("query") > 0) | (pl.col("candidate") > 0))
    assert "one candidate only" in texts(draw("logits", {"logits": table.filter(~lonely)}))


def test_chain_logits_have_a_row_for_train_and_one_for_validation_triples():
    figure = draw("logits", {"logits": logits([point(task="chain")])})
    assert titles(figure)[:3] == ["A → B", "B → C", "A ⇝ C"]
    assert len([ax for ax in figure.axes if ax.images]) == 4 * 3


def dots(ax) -> list:
    return [line for line in ax.lines if line.get_marker() in ("o", "^")]


def test_masking_arms_come_in_order_with_a_dot_per_seed():
    table = metrics([point(**FACTS, masking=arm) for arm in ("relation", "any_order", "object")])
    (ax,) = draw("masking", {"metrics": table}).axes
    assert [t.get_text() for t in ax.get_xticklabels()] == ["any\norder", "B", "relation"]
    assert [len(line.get_xdata()) for line in dots(ax)] == [3] * 6


def test_families_stand_beside_each_other_for_every_encoding():
    loss, accuracy = draw("final", {"metrics": metrics(SWEEPS["both"])}).axes
    ticks = [t.get_text().replace("\n", " ") for t in loss.get_xticklabels()]
    assert ticks == ["no positions", "rotary positions"]
    assert len(dots(accuracy)) == 8


def test_the_overview_writes_the_gap_after_the_last_epoch_into_its_cells():
    table = metrics([point(layers=n, pos_encoding=e) for n in (1, 2) for e in ("none", "rotary")])
    assert reversal_gap(table)["gap"].to_list() == pytest.approx([6.0] * 12, abs=1e-5)
    assert texts(draw("overview", {"metrics": table})).count("6.0 ± 0.0") == 4
    every = draw("overview", {"metrics": metrics(SWEEPS["much at once"])})
    assert texts(every).count("6.0 ± 0.0") == 8


@pytest.mark.parametrize("exponent", [0.3, 0.0, -0.5])
def test_the_exponent_of_the_bound_is_found_and_a_reverse_loss_that_grows_needs_none(exponent):
    found = exponents(separation(SWEEPS["bilinear widths"], exponent=exponent))
    assert found["exponent"].to_list() == pytest.approx([max(exponent, 0)] * 4, abs=1e-5)


def test_separation_without_anything_learned_is_refused():
    table = separation([point(**BILINEAR)]).with_columns(nll_forward=pl.lit(4.0, pl.Float32))
    with pytest.raises(UserError, match="learned in no run"):
        draw("separation", {"separation": table})


def diverged(table: pl.DataFrame, seeds: list[int]) -> pl.DataFrame:
    late = (pl.col("epoch") > 0) & pl.col("seed").is_in(seeds)
    nan = pl.when(late).then(float("nan")).otherwise("nll_token").alias("nll_token")
    return table.with_columns(nan)


def test_diverged_seeds_are_counted_and_the_others_drawn():
    table = diverged(metrics([point()]), [2])
    figure = draw("curves", {"metrics": table})
    assert "1 of 3 seeds diverged" in figure.axes[0].get_title()
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([4.05, 2.05, 0.05], abs=1e-5)
    shown = texts(draw("overview", {"metrics": table}))
    assert "6.0 ± 0.0*\n1 of 3\ndiverged" in shown  # *: half of the training set learned
    every = pl.col("vocab_size") == 20
    both = metrics([point(), point(vocab_size=20)])
    both = pl.concat([both.filter(~every), diverged(both.filter(every), [0, 1, 2])])
    assert "3 of 3\ndiverged" in texts(draw("overview", {"metrics": both}))
    draw("curves", {"metrics": both}).draw_without_rendering()


def test_bounds_show_the_exponent_and_one_in_m():
    table = synthetic.sentence_nll(SWEEPS["one layer"], exponent=0.9)
    figure = draw("bounds", {"sentence_nll": table})
    assert "M = 82" in texts(figure)
    assert "c = 0.90" in texts(figure)
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx([1.0, 1.0])


def test_weights_show_asymmetry_and_intransitivity():
    shown = texts(draw("weights", {"weights": synthetic.weights(SWEEPS["one layer"], seeds=2)}))
    for part in ("one direction held out: 1.00 ± 0.00", "A to B: 10.0 ± 0.0", "A to C: 0.0 ± 0.0"):
        assert part in shown


def test_score_correlations_are_those_of_the_table():
    table = synthetic.attention([point(**FACTS, embed_dim=64, heads=1)], before=0.3, after=-0.6)
    found = score_correlations(table).sort("epoch", "seed")
    assert found["correlation"].to_list() == pytest.approx([0.3, 0.3, -0.6, -0.6], abs=1e-6)
    assert found["head_dim"].unique().to_list() == [64]
    shown = texts(draw("attention", {"attention": table}))
    assert "rotary positions, D = 2, d$_h$ = 64" in shown


def test_gradients_show_every_look():
    figure = draw("gradients", {"gradients": synthetic.gradients(SWEEPS["both"][:1])})
    cosine = figure.axes[0].lines[0]
    assert cosine.get_xdata().tolist() == [0, 1, 8]
    assert cosine.get_ydata() == pytest.approx([0.8005] * 3)


def test_figures_say_how_many_seeds_each_point_has():
    table = metrics([point(), point(vocab_size=20)])
    few = (pl.col("vocab_size") == 20) | (pl.col("seed") == 0)
    assert "mean of 1 to 3 seeds" in texts(draw("curves", {"metrics": table.filter(few)}))
    one = {"metrics": table.filter(pl.col("seed") == 0)}
    assert "mean of 1 seed;" in texts(draw("curves", one))
    assert "±" not in texts(draw("overview", one)).replace("mean ± standard", "")


def test_the_cosine_of_random_directions():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, 20_000, 20))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    measured = np.abs((vectors[0] * vectors[1]).sum(1)).mean()
    assert random_absolute_cosine(20) == pytest.approx(measured, rel=0.02)
    assert random_absolute_cosine(768) == pytest.approx(math.sqrt(2 / (math.pi * 768)), rel=0.01)


def test_a_figure_of_a_config_is_drawn_from_its_runs_with_the_labels_of_its_points(tmp_path):
    points = [{"layers": 1, "label": "shallow"}, {"layers": 2}]
    figures = {"mine": {"plot": "curves", "sweep": "a"}}
    config = Config.parse({"sweeps": {"a": {"points": points}}, "figures": figures})
    write_runs(config, tmp_path, lambda one: metrics([one]))
    assert titles(draw_figure(config, "mine", tmp_path, tmp_path)) == ["shallow", "2 layers"]
    with pytest.raises(UserError, match=r"no figure mind in this config \(did you mean mine\?\)"):
        draw_figure(config, "mind", tmp_path, tmp_path)


def test_files_are_written_whole_and_are_the_same_each_time(tmp_path):
    outputs = [tmp_path / "figures" / f"curve.{suffix}" for suffix in ("pdf", "png", "svg")]
    written = []
    for _ in range(2):
        save(draw("curves", {"metrics": metrics([point()])}), outputs)
        written.append([output.read_bytes() for output in outputs])
    assert written[0] == written[1]
    assert sorted(p.name for p in outputs[0].parent.iterdir()) == [o.name for o in outputs]
    assert written[0][0].startswith(b"%PDF")
    with Image.open(outputs[1]) as image:
        assert min(image.size) > 300
        assert len(image.convert("RGB").getcolors(maxcolors=10**6)) > 10


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"unknown suffix; allowed: \.pdf, \.png"):
        save(draw("curves", {"metrics": metrics([point()])}), [tmp_path / "figure.gif"])
    assert not list(tmp_path.iterdir())

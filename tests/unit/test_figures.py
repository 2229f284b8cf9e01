"""Plots of synthetic tables, and the summaries that plots and claims compute from them."""

from collections import Counter
from functools import cache
from itertools import product

import matplotlib
import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from reversal_curse.config.errors import UserError
from reversal_curse.config.figures import PALETTES
from reversal_curse.config.file import Config, Style
from reversal_curse.config.grid import undrawable
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.settings import choices, settings_of
from reversal_curse.families import FAMILIES
from reversal_curse.figures import grouping, style
from reversal_curse.figures.final import BRIDGED
from reversal_curse.figures.numbers import drawn_numbers
from reversal_curse.figures.render import draw, draw_figure, save
from reversal_curse.products import Products
from reversal_curse.tables import summaries
from reversal_curse.tables.pretrained_summaries import answer_means, head_correlations, learned
from reversal_curse.tables.run_files import Runs
from reversal_curse.tables.schemas import TABLES

from . import synthetic
from .synthetic import CHOICE, gathered, point, write_runs


def metrics(points, seeds=3) -> pl.DataFrame:
    rows = [
        {**one, "seed": seed, "epoch": epoch, "split": split, "nll_token": loss + 0.1 * seed}
        | {"nll_word": 2 * loss, "accuracy": 0.5, "chance_vocab": 4.4, "chance_class": 3.0}
        | CHOICE
        for one, seed, epoch in product(points, range(seeds), (0, 10, 20))
        for split, loss in (("train", 4 - epoch / 5), ("unseen", 4 + epoch / 10))
    ]
    return gathered("metrics", rows)


MAKERS = {"metrics": metrics} | {n: f for n, f in vars(synthetic).items() if n in TABLES}
BILINEAR = {"family": "bilinear"}
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
        point(dropout=p, tie_head=tied, vocab_size=v)
        for p, tied, v in product((0.0, 0.1), (False, True), (20, 40))
    ],
    "bilinear widths": [point(**BILINEAR, embed_dim=d) for d in (16, 32)],
    "bilinear": [point(**BILINEAR)],
    "one layer": [point(family="one_layer", task=t, vocab_size=80) for t in ("reversal", "chain")],
    "facts": [point(**FACTS)],
    "arms": [point(**FACTS, masking=arm, heads=1) for arm in ("any_order", "either", "relation")],
    "distances": [point(**FACTS, distance=d, heads=h) for d in (1, 3) for h in (1, 4)],
    "remedies": [
        point(**{"task": "inverse", "pos_encoding": e, "vocab_size": v, **arm})
        for e, v in product(("absolute", "none"), (40, 80))
        for arm in (
            {"weight_decay": 3.0},
            {},
            {"bridge": "full"},
            {"bridge": "subjects"},
            {"bridge": "full", "tie_head": True},
            {"family": "masked_diffusion"},
        )
    ],
    "alignments": [
        *(point(task="inverse", bridge="full", alignment=side) for side in ("left", "right")),
        point(task="inverse", bridge="full", pos_encoding="none"),
        *(point(**FACTS | {"pos_encoding": e}) for e in ("none", "absolute")),
    ],
    "hops": [
        point(task="two_hop", bridge=b, layers=n) for b in ("none", "objects") for n in (1, 2)
    ],
    "graphs": [point(task="relational", weight_decay=w) for w in (0.0, 3.0)],
    "optimizers": [point(optimizer=name) for name in ("adamw", "sgd", "muon")],
    "both": [
        point(**FACTS | {"family": f, "pos_encoding": e})
        for f, e in product(("gpt", "masked_diffusion"), ("none", "rotary"))
    ],
}
OWN = [name for name, plot in PLOTS.items() if not plot.pretrained]
REVERSES = {"masked_diffusion": True, "causal": False}
# Every plot with every sweep that a config may give it.
DRAWABLE = [
    (plot, sweep)
    for plot, (sweep, points) in product(OWN, SWEEPS.items())
    if undrawable(plot, [settings_of(one) for one in points]) is None
]


def tables_of(plot: str, points: list[dict], **given) -> dict[str, pl.DataFrame]:
    return {
        name: MAKERS[name]([p for p in points if name in FAMILIES[p["family"]].tables], **given)
        for name in PLOTS[plot].tables
    }


@cache
def drawn(plot: str, sweep: str):
    return draw(plot, tables_of(plot, SWEEPS[sweep]))


def drawn_pretrained(plot: str, table: pl.DataFrame):
    figure = draw(f"pretrained_{plot}", {PLOTS[f"pretrained_{plot}"].tables[0]: table})
    figure.draw_without_rendering()
    return figure


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def titles(figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


@pytest.mark.parametrize(("plot", "sweep"), DRAWABLE)
def test_a_plot_draws_every_sweep_that_a_config_may_give_it(plot, sweep):
    assert drawn(plot, sweep).axes


def test_every_plot_has_a_sweep_here_and_those_of_metrics_draw_all():
    sweeps = Counter(plot for plot, _ in DRAWABLE)
    assert set(sweeps) == set(OWN)
    assert {sweeps[plot] for plot in ("curves", "word_curves", "final", "overview")} == {
        len(SWEEPS)
    }
    assert set(style.ENCODINGS) == set(choices("pos_encoding"))


@pytest.mark.parametrize(("plot", "sweep"), dict(reversed(DRAWABLE)).items())
def test_one_seed_is_enough_and_an_empty_table_is_refused(plot, sweep):
    tables = tables_of(plot, SWEEPS[sweep], seeds=1)
    figure = draw(plot, tables)
    figure.draw_without_rendering()
    assert "±" not in texts(figure).replace("mean ± standard", "")
    with pytest.raises(UserError, match="no rows"):
        draw(plot, {name: table.clear() for name, table in tables.items()})


def test_curves_title_their_panels_with_what_varies_in_the_order_of_values():
    assert titles(drawn("curves", "truths")) == ["untied head", "tied head"]
    assert titles(drawn("curves", "words")) == ["loss on answer", "loss on sequence"]
    assert titles(drawn("curves", "rates")) == [f"learning rate {x}" for x in (0.001, 0.01, 0.1)]
    table = metrics([point(layers=n, pos_encoding=e) for n in (12, 2) for e in ("rotary", "none")])
    words = product(("2 layers", "12 layers"), ("no positions", "rotary positions"))
    assert [label for label, _ in grouping.split_points(table)] == list(map(", ".join, words))


def test_places_named_by_numbers_keep_their_names_in_the_numbers_of_a_figure():
    figure = Figure()
    ax = figure.subplots()
    ax.plot([1, 2], [0.0, 1.0])
    ax.set_xticks([1, 2], [3, 9])
    assert drawn_numbers(figure)["x_label"].to_list() == ["3", "9"]


@pytest.mark.parametrize(
    ("plot", "sweep", "expected"),
    [
        ("curves", "one gpt", ["ln 81", "ln 20", "mean of 3 seeds;"]),
        ("logits", "one gpt", ["validation, unseen direction", "right − other: 9.0 ± 0.0"]),
        ("weights", "one layer", ["held out: 1.00 ± 0.00", "A to B: 10.0 ± 0.0", "C: 0.0 ± 0.0"]),
        ("attention", "facts", ["rotary positions, D = 2, d$_h$ = 64", "training, d$_h$ = 64"]),
        ("bounds", "one layer", ["M = 82", "c = 1.00"]),
        ("word_curves", "words", ["ln 81", "2 ln 81"]),
        ("gradients", "both", ["another fact's answer", "epoch (linear up to 1)"]),
    ],
)
def test_plots_say_what_their_table_says(plot, sweep, expected):
    shown = texts(drawn(plot, sweep))
    assert [part for part in expected if part not in shown] == []


@pytest.mark.parametrize(
    ("plot", "sweep", "panel", "expected"),
    [
        ("curves", "one gpt", 0, {0: 4.1, 10: 2.1, 20: 0.1}),
        ("bounds", "one layer", 1, {100: 1.0, 1000: 1.0}),
        ("chain_of_thought", "tasks", 0, {0: 0.0, 1: 1.0, 8: 1.0}),
        ("gradients", "both", 0, {0: 0.8005, 1: 0.8005, 8: 0.8005}),
    ],
)
def test_lines_have_the_means_of_their_table(plot, sweep, panel, expected):
    line = drawn(plot, sweep).axes[panel].lines[0]
    shown = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert shown == pytest.approx(expected, abs=1e-5)


def test_curves_have_a_band_of_one_standard_deviation_and_are_not_cut_off():
    high = pl.when(pl.col("vocab_size") == 800).then(3.0).otherwise(1.0) * pl.col("nll_token")
    table = metrics([point(), point(vocab_size=50)]).with_columns(high.alias("nll_token"))
    ax = draw("curves", {"metrics": table}).axes[0]
    assert ax.get_ylim()[1] > table["nll_token"].max()
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.0, abs=1e-5)  # 0.1 - sd of (0, 0.1, 0.2)


def test_the_band_of_a_cosine_does_not_exceed_1():
    table = synthetic.gradients(SWEEPS["both"]).with_columns(cosine=1.0 - pl.col("seed"))
    drawn_bands = draw("gradients", {"gradients": table}).axes[0].collections
    assert {band.get_paths()[0].vertices[:, 1].max() for band in drawn_bands} == {1.0}


def test_if_one_title_is_long_all_are_broken_in_their_middle():
    points = [point(**FACTS | {"family": "gpt", "pos_encoding": e}) for e in ("none", "absolute")]
    table = metrics([*points, point(**FACTS)])
    assert titles(draw("curves", {"metrics": table})) == [
        "autoregressive,\nno positions",
        "autoregressive,\nabsolute positions",
        "masked diffusion,\nrotary positions",
    ]
    assert style.in_two_lines("a_very_long_name", "_") == "a_very\nlong_name"
    assert style.in_two_lines("short", "_") == "short"


@pytest.mark.parametrize(
    ("points", "rows", "turned"), [(4, 1, False), (8, 3, False), (48, 3, True)]
)
def test_many_columns_are_drawn_below_each_other_and_more_have_turned_labels(points, rows, turned):
    table = metrics([point(epochs=1000 + n) for n in range(points)])
    axes = draw("final", {"metrics": table}).axes
    assert axes[0].get_gridspec().nrows == rows
    assert {bool(t.get_rotation()) for t in axes[2].get_xticklabels()} == {turned}


def test_a_map_with_one_candidate_has_no_contrast():
    lonely = (pl.col("group") == "unseen") & ((pl.col("query") > 0) | (pl.col("candidate") > 0))
    tables = {"logits": synthetic.logits([point()]).filter(~lonely)}
    assert "one candidate only" in texts(draw("logits", tables))


def test_chain_logits_have_a_row_for_train_and_one_for_validation_triples():
    figure = drawn("logits", "tasks")
    assert titles(figure)[4:7] == ["A → B", "B → C", "A ⇝ C"]
    assert len([ax for ax in figure.axes if ax.images]) == 2 * (4 + 2 * 3 + 4 + 4)


def test_columns_come_in_order_with_a_dot_per_seed():
    table = metrics([point(**FACTS, masking=arm) for arm in ("relation", "any_order", "object")])
    for ax in draw("masking", {"metrics": table}).axes:
        assert [t.get_text() for t in ax.get_xticklabels()] == ["any\norder", "B", "relation"]
        dots = [len(line.get_xdata()) for line in ax.lines if line.get_marker() in ("o", "^")]
        assert dots == [3] * 6
    loss, accuracy, choice = drawn("final", "both").axes
    ticks = [t.get_text().replace("\n", " ") for t in loss.get_xticklabels()]
    assert ticks == ["no positions", "rotary positions"]
    markers = Counter(line.get_marker() for line in accuracy.lines)
    assert markers["o"] == markers["^"] == 4
    assert choice.lines[-1].get_ydata() == pytest.approx([1 / 6] * 2), "a guess"


def test_many_panels_of_masking_arms_are_in_rows_of_four():
    points = [point(**FACTS, distance=n) for n in range(1, 7)]
    axes = draw("masking", {"metrics": metrics(points)}).axes
    assert [ax.get_subplotspec().rowspan.start for ax in axes] == [0] * 4 + [1] * 4 + [2, 2, 3, 3]
    assert titles(axes[0].figure)[-1] == "6 relation tokens"


def test_the_storage_plot_has_a_dot_per_seed_of_the_last_layer_and_epoch():
    points = [*SWEEPS["both"], point(**FACTS, exposure=True)]
    tables = tables_of("storage", points, seeds=2)
    early, other = pl.col("epoch") < 8, tables["attention"].with_columns(layer=pl.lit(-1))
    values = pl.col("^value_rank.*$")
    tables["attention"] = pl.concat(
        [
            tables["attention"].with_columns(pl.when(~early).then(values)),
            other.with_columns(values * 0),
        ]
    )
    known, routed, said, _ = draw("storage", tables).axes
    for ax, x, y in ((known, 0.9, 0.2), (routed, 0.5, 0.2), (said, 0.9, 0.5)):
        dots = [line for line in ax.lines if line.get_marker() in ("o", "v")]
        assert len(dots) == 3, "gpt has no such attention"
        assert {len(line.get_xdata()) for line in dots} == {2}
        assert dots[0].get_xydata() == pytest.approx(np.array([[x, y]] * 2))


def all_learned(table: pl.DataFrame) -> pl.DataFrame:
    """Give every seed the training sentences, all right."""
    train = pl.col("split") == "train"
    values = {"nll_token": 0.01, "accuracy": 1.0}
    return table.with_columns(
        pl.when(train).then(value).otherwise(name).alias(name) for name, value in values.items()
    )


def test_the_overview_writes_what_is_said_and_what_is_known_into_its_cells():
    table = metrics([point(layers=n, pos_encoding=e) for n in (1, 2) for e in ("none", "rotary")])
    found = all_learned(table).with_columns(rank_choice=pl.lit(0.75))
    shown = texts(draw("overview", {"metrics": found}))
    assert shown.count("0.50\n± 0.00") == shown.count("0.75\n± 0.00") == 4
    assert texts(drawn("overview", "much at once")).count("not learned") == 16
    alone = found.with_columns(rank_choice=pl.lit(None, pl.Float64))
    assert texts(draw("overview", {"metrics": alone})).count("one candidate") == 4


def test_the_bench_has_a_row_for_each_remedy_by_kind_in_the_order_of_the_config():
    table = tables_of("mitigation_bench", SWEEPS["remedies"])["metrics"]
    said = pl.when(split="unseen", bridge="full").then(pl.col("seed") / 2).otherwise(0.25)
    figure = draw("mitigation_bench", {"metrics": table.with_columns(accuracy=said)})
    assert titles(figure) == ["said", "known", "echo", "sentences"] * 2, "V = 40, V = 80"
    rows = "none|data|identity bridge|A is A|objective|masked diffusion|optimisation|weight decay 3"
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert shown == [*rows.split("|"), "mixtures", "identity bridge, tied head"]
    numbers = drawn_numbers(figure)
    assert set(numbers["y_axis"]) == {"V = 40", "V = 80"}
    row = numbers.filter(panel="said", y_label="identity bridge", mark="point", y_axis="V = 80")
    assert row.filter(series="absolute positions")["x"].to_list() == [0, 0.5, 1.0]
    levels = [line for line in figure.axes[0].lines if line.get_label().startswith("without")]
    assert [line.get_xdata()[0] for line in levels] == [0.25] * 2
    cost = numbers.filter(panel="sentences", y_label="A is A", mark="point")
    assert cost["x"].to_list() == pytest.approx([1.4] * len(cost)), (
        "50 sentences for 10 facts, and 20 more"
    )


def test_bridges_are_drawn_by_positions_beside_masked_diffusion():
    figure = drawn("bridge_positions", "alignments")
    assert [" ".join(title.split()) for title in titles(figure)] == [
        "autoregressive, identity bridge, inverse",
        "masked diffusion, facts",
    ]
    shown = [text.get_text().split() for text in figure.axes[0].get_xticklabels()]
    assert shown[1:] == [["absolute", "positions", f"{side}-aligned"] for side in ("left", "right")]
    found = drawn_numbers(figure).filter(mark="point").filter(pl.col("series") != "")
    means = found.group_by("series").agg(pl.col("y").mean())
    said, known, echo = (name for name, *_ in BRIDGED.values())
    assert dict(means.rows()) == pytest.approx({said: 0.5, known: 0.2, echo: 0})


def test_decay_shows_the_papers_settings_beside_its_own_task_only():
    for sweep, settings in (("graphs", 0), ("rates", 1)):
        assert texts(drawn("decay", sweep)).count("printed settings") == settings


def test_the_asymmetry_is_that_of_the_pairs_contrasts_by_optimizer():
    figure = drawn("optimizer_asymmetry", "optimizers")
    found = drawn_numbers(figure).filter(mark="point")
    index = found.filter(panel="1", series="Muon")
    assert index.select("x", "y").rows() == [(0, 0), (1, 1), (8, 1)]
    strength = found.filter(panel="2", x=8)
    assert strength.filter(series="Muon")["y"].to_list() == [4.5]
    assert strength.filter(series="Muon, held out")["y"].to_list() == [0.0]


def test_the_overview_has_no_row_of_maps_for_what_follows_from_the_other_settings():
    table = metrics([point(layers=n, vocab_size=v, epochs=n * v) for n in (1, 2) for v in (20, 80)])
    figure = draw("overview", {"metrics": table})
    assert len([ax for ax in figure.axes if ax.images]) == 2
    assert "follows from the rest: epochs" in texts(figure)


@pytest.mark.parametrize("exponent", [0.3, 0.0, -0.5])
def test_the_exponent_of_the_bound_is_found_and_is_0_if_the_reverse_loss_grows(exponent):
    table = synthetic.separation(SWEEPS["bilinear widths"], exponent, exponent)
    found = summaries.exponents(table)
    assert found["exponent"].to_list() == pytest.approx([max(exponent, 0)] * 4, abs=1e-5)


def test_the_slope_of_the_exponent_is_a_power_of_the_dimension():
    widths = (16, 32, 64)
    points = [point(**BILINEAR, embed_dim=d) for d in widths]
    table = synthetic.separation(points, *(3 * d**-0.75 for d in widths))
    slopes = summaries.exponent_slopes(table)["slope"]
    assert slopes.to_list() == pytest.approx([-0.75] * 2, abs=1e-4)
    assert "fit: slope −0.75 [−0.75, −0.75]" in texts(draw("separation", {"separation": table}))
    none = synthetic.separation(points, *[-0.5] * 3)
    assert summaries.exponent_slopes(none).is_empty()
    assert draw("separation", {"separation": none})


def test_the_t_interval_is_wider_than_that_of_a_normal_distribution():
    low, high = summaries.t_interval(pl.Series([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


def test_separation_is_refused_if_nothing_was_learned():
    table = synthetic.separation([point(**BILINEAR)]).with_columns(
        nll_forward=pl.lit(4.0, pl.Float32)
    )
    with pytest.raises(UserError, match="no run learned"):
        draw("separation", {"separation": table})


def test_diverged_seeds_are_counted_and_the_others_drawn():
    diverged = (pl.col("vocab_size") == 20) | (pl.col("seed") == 2)
    loss = pl.when(diverged, pl.col("epoch") > 0).then(float("nan")).otherwise("nll_token")
    table = metrics([point(), point(vocab_size=20)]).with_columns(nll_token=loss)
    figure = draw("curves", {"metrics": table})
    figure.draw_without_rendering()
    every, one = figure.axes
    assert "3 of 3 seeds diverged" in every.get_title()
    assert "1 of 3 seeds diverged" in one.get_title()
    assert one.lines[0].get_ydata() == pytest.approx([4.05, 2.05, 0.05], abs=1e-5)
    shown = texts(draw("overview", {"metrics": all_learned(table).with_columns(nll_token=loss)}))
    assert "0.50\n± 0.00*" in shown
    assert "3 of 3\ndiverged" in shown


def test_score_correlations_are_those_of_the_table():
    table = synthetic.attention([point(**FACTS, embed_dim=64, heads=1)], before=0.3, after=-0.6)
    found = summaries.score_correlations(table).sort("epoch", "seed")
    assert found["correlation"].to_list() == pytest.approx([0.3, 0.3, -0.6, -0.6], abs=1e-6)


def test_figures_say_how_many_seeds_each_point_has():
    table = metrics([point(), point(vocab_size=20)])
    one, few = pl.col("seed") == 0, (pl.col("vocab_size") == 20) | (pl.col("seed") == 0)
    for rows, phrase in ((one, "1 seed"), (few, "1 to 3 seeds"), (True, "3 seeds")):
        assert grouping.seed_phrase(table.filter(rows)) == phrase


def test_random_directions_have_the_cosine_of_the_formula():
    vectors = np.random.default_rng(0).normal(size=(2, 100_000, 20))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    measured = np.abs(vectors.prod(0).sum(1)).mean()
    found = [summaries.random_absolute_cosine(d) for d in (20, 768)]
    assert found == pytest.approx([measured, np.sqrt(2 / (np.pi * 768))], rel=0.01)


def test_a_figure_of_a_config_is_drawn_from_its_runs_with_the_labels_of_its_points(tmp_path):
    points = [{"layers": 1, "label": "shallow"}, {"layers": 2}]
    figures = {"mine": {"plot": "curves", "sweep": "a"}}
    config = Config.parse({"sweeps": {"a": {"points": points}}, "figures": figures})
    write_runs(config, tmp_path, lambda one: metrics([one]))
    assert titles(draw_figure(config, "mine", Runs(tmp_path))) == ["shallow", "2 layers"]
    with pytest.raises(UserError, match=r"no figure mind in this config \(did you mean mine\?\)"):
        draw_figure(config, "mind", Runs(tmp_path))


def test_files_are_written_whole_and_the_same_each_time_unless_a_suffix_is_unknown(tmp_path):
    outputs = [tmp_path / "figures" / f"curve.{suffix}" for suffix in ("pdf", "png", "svg")]
    with pytest.raises(UserError, match=r"unknown suffix; allowed: \.pdf, \.png"):
        save(drawn("curves", "one gpt"), [*outputs, tmp_path / "figure.gif"])
    assert not list(tmp_path.iterdir())
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


@pytest.mark.parametrize("seeds", [0, 1, 3])
def test_pretrained_plots_draw_even_without_fine_tuning_or_a_measured_step(seeds):
    gradients = synthetic.pretrained_gradients(REVERSES, seeds=seeds)
    unmeasured = gradients.with_columns(actual_change=pl.lit(None, pl.Float64))
    assert drawn_pretrained("reversal", synthetic.answers(REVERSES, seeds=seeds)).axes
    assert drawn_pretrained("attention", synthetic.scores(True, seeds=seeds)).axes
    assert drawn_pretrained("gradients", gradients).axes
    assert drawn_pretrained("gradients", unmeasured).axes


def test_a_remedy_stands_below_the_name_of_its_model():
    answers = synthetic.answers(REVERSES).with_columns(arm=pl.lit("identity bridge, 6 copies"))
    assert "\ndiffusion\nidentity bridge,\n6 copies" in [
        label.get_text()
        for label in drawn_pretrained("reversal", answers).axes[0].get_xticklabels()
    ]


def test_without_rows_only_scores_are_drawn_and_say_why_there_are_none():
    figure = drawn_pretrained("attention", synthetic.scores(True).clear())
    assert texts(figure).startswith("None of these models")
    with pytest.raises(UserError, match="no rows"):
        drawn_pretrained("reversal", synthetic.answers(REVERSES).clear())


def test_the_margin_is_what_another_facts_answer_costs_more():
    answers = synthetic.answers(REVERSES, seeds=2)
    means = answer_means(answers).filter(seed=0, stage="after").sort("kind", "direction")
    # forward and reverse: autoregressive, then masked diffusion
    assert means["margin"].to_list() == pytest.approx([9.9, 0, 9.9, 9.5], abs=1e-6)
    assert learned(answers).height == 4
    assert learned(answers.filter(stage="before")).is_empty()


def test_correlations_are_those_within_relations_and_lengths_of_the_subject():
    found = head_correlations(synthetic.scores(True))
    assert found.height == 4 * 4  # before, and three runs
    assert found["correlation"].min() > 0.95
    table = synthetic.scores(False)
    none = head_correlations(table)
    # The means of relations alone would correlate with nearly 1, and so would those of lengths.
    assert none["correlation"].abs().max() < 0.7
    assert none["correlation"].is_between(none["null_low"], none["null_high"]).mean() > 0.7
    both, longer = pl.col("score_forward", "score_reverse"), pl.col("fact") % 3
    table = table.with_columns((both + 9 * longer).cast(pl.Float32))
    assert head_correlations(table)["correlation"].min() > 0.9
    apart = head_correlations(table.with_columns(tokens=(1 + longer).cast(pl.Int32)))
    assert apart["correlation"].abs().max() < 0.7


def test_the_correlation_is_pearsons_and_the_null_is_centred():
    table = synthetic.scores(False).filter(relation=0)
    found = head_correlations(table)
    first = table.filter(stage="before", layer=0, head=0)
    direct = np.corrcoef(first["score_forward"], first["score_reverse"])[0, 1]
    assert found["correlation"][0] == pytest.approx(direct)
    assert (found["null_low"] + found["null_high"]).mean() == pytest.approx(0, abs=0.1)
    # 95 % of the correlations of 12 shuffled facts
    assert found["null_high"].mean() == pytest.approx(0.576, abs=0.06)


def test_a_fact_that_is_alone_in_its_relation_does_not_count():
    last = pl.col("fact") == 8
    relation = pl.when(last).then(7).otherwise(0).cast(pl.Int32)
    table = synthetic.scores(True).filter(pl.col("fact") <= 8).with_columns(relation=relation)
    assert head_correlations(table).equals(head_correlations(table.filter(~last)))
    assert head_correlations(table.filter(last)).is_empty()


COLUMN, PAGE = Style(width=3.25, font_size=6), Style(width=6.75)


@pytest.mark.parametrize(("plot", "sweep"), dict(reversed(DRAWABLE)).items())
def test_no_text_is_under_6_points_when_printed_and_no_figure_wider_than_the_page(plot, sweep):
    column = draw(plot, tables_of(plot, SWEEPS[sweep]), COLUMN)
    assert column.get_figwidth() <= 3.25
    for figure in (drawn(plot, sweep), column):
        figure.draw_without_rendering()
        sizes = [t.get_fontsize() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]
        assert min(sizes) >= 6
        for legend in figure.legends:
            assert legend.get_window_extent().width <= figure.bbox.width


def test_on_a_page_panels_stand_in_rows_that_fit():
    def columns(plot: str, sweep: str, look: Style) -> int:
        return draw(plot, tables_of(plot, SWEEPS[sweep]), look).axes[0].get_gridspec().ncols

    for sweep, plot, expected in (("families", "curves", (4, 4, 2)), ("both", "final", (3, 3, 1))):
        looks = (Style(), PAGE, COLUMN)
        assert tuple(columns(plot, sweep, look) for look in looks) == expected
    broken = draw("curves", tables_of("curves", SWEEPS["families"]), Style(width=3.25))
    assert titles(broken)[2].split() == ["masked", "diffusion,", "V", "=", "20"]
    for ax in broken.axes:
        assert ax.title.get_window_extent().width <= ax.get_window_extent().width
    assert titles(drawn("curves", "families"))[2] == "masked diffusion, V = 20"


def test_names_below_an_axis_are_turned_if_they_run_into_each_other():
    def turned(look: Style) -> set[float]:
        figure = draw("final", tables_of("final", SWEEPS["both"]), look)
        return {name.get_rotation() for ax in figure.axes for name in ax.get_xticklabels()}

    assert (turned(Style()), turned(Style(width=5.6, font_size=14))) == ({0}, {90})


def test_a_page_wider_than_its_panels_like_stretches_nothing():
    for width in (6.75, 40):
        figure = draw("attention", tables_of("attention", SWEEPS["facts"]), Style(width=width))
        assert figure.get_figheight() < 8


def test_a_palette_replaces_every_colour_that_plots_name():
    figure = draw("curves", tables_of("curves", SWEEPS["one gpt"]), Style(palette="grey"))
    lines = {line.get_color() for line in [*figure.axes[0].lines, *figure.legends[0].get_lines()]}
    assert lines.isdisjoint(PALETTES["grey"])
    assert lines > {"#000000", "#777777", "#AAAAAA"}
    assert to_hex(figure.axes[0].collections[0].get_facecolor()[0]) == "#000000"


def test_beside_a_figure_lie_the_numbers_that_it_draws(tmp_path):
    save(drawn("curves", "one gpt"), [tmp_path / "curves.csv"])
    table = pl.read_csv(tmp_path / "curves.csv")
    train = table.filter(series="train", mark="point").select("x", "y")
    assert np.array(train) == pytest.approx(np.array([[0, 4.1], [10, 2.1], [20, 0.1]]), abs=1e-5)
    levels = table.filter(mark="level").select("series", "y").rows()
    names = ("chance, candidates", "chance, entity class", "chance, vocabulary")
    assert dict(levels) == pytest.approx(dict(zip(names, (1.79, 3.0, 4.4), strict=True)))
    save(drawn("overview", "tasks"), [tmp_path / "maps.csv"])
    cells = pl.read_csv(tmp_path / "maps.csv").filter(mark="cell")
    assert cells.height == 2 * len(SWEEPS["tasks"])
    save(drawn("final", "both"), [tmp_path / "final.csv"])
    final = pl.read_csv(tmp_path / "final.csv").filter(mark="point")
    assert set(final["x_label"]) == {"no positions", "rotary positions"}


def test_the_style_of_a_config_decides_size_and_files_of_its_figures(tmp_path):
    figures = {"wide": {"plot": "curves", "sweep": "a"}}
    figures["narrow"] = figures["wide"] | {"width": "one_column"}
    style_block = {"width": 5, "formats": ["svg"], "font_size": 10}
    sweeps = {"a": {"vocab_size": [20, 24]}}
    config = Config.parse({"sweeps": sweeps, "figures": figures, "style": style_block})
    write_runs(config, tmp_path, lambda one: metrics([one]))
    widths = [draw_figure(config, name, Runs(tmp_path)).get_figwidth() for name in figures]
    assert widths == [5, 3.25]
    files = Products(config, tmp_path).files("figures/wide")
    assert [path.name for path in files] == ["wide.svg", "wide.csv"]
    plain = Products(config.model_copy(update={"style": Style()}), tmp_path)
    assert plain.source("figures/wide") != Products(config, tmp_path).source("figures/wide")

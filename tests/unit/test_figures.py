"""Figures from synthetic tables: every one draws, and says what its table says."""

from __future__ import annotations

import math
import shutil

import matplotlib
import numpy as np
import polars as pl
import pytest
from PIL import Image

from reversal_curse import code_version
from reversal_curse.analysis import exponents, random_absolute_cosine, score_correlations
from reversal_curse.code_version import figure_version
from reversal_curse.errors import UserError
from reversal_curse.figures.points import split_points, varying_axes
from reversal_curse.figures.render import draw, render
from reversal_curse.figures.sweep_overview import reversal_gap
from reversal_curse.registry import FIGURES
from reversal_curse.tables import TABLES, aggregated, write_table

from . import synthetic
from .synthetic import point


def metrics(points, seeds=3) -> pl.DataFrame:
    rows = [
        {**axes, "seed": seed, "epoch": epoch, "split": split, "nll_token": loss + 0.1 * seed}
        | {"nll_word": 2 * loss, "accuracy": 0.5, "chance_vocab": 4.4, "chance_class": 3.0}
        for axes in points
        for seed in range(seeds)
        for epoch in (0, 10, 20)
        for split, loss in (("train", 4 - epoch / 5), ("unseen", 4 + epoch / 10))
    ]
    return aggregated(TABLES["metrics"]).conform(pl.DataFrame(rows))


def logits(points, seeds=3) -> pl.DataFrame:
    rows = [
        {**axes, "seed": seed, "group": group, "readout": readout}
        | {"query": query, "candidate": candidate, "logit": 9.0 if query == candidate else seed}
        for axes in points
        for seed in range(seeds)
        for group in ("train_forward", "train_backward", "seen", "unseen")
        for readout in ("entity", "entity_relation")
        for query in range(4)
        for candidate in range(4)
    ]
    return aggregated(TABLES["logits"]).conform(pl.DataFrame(rows))


def embeddings(points, seeds=2) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {**axes, "seed": seed, "token": token, "role": role, "position": position}
        | {"embedding": rng.normal(size=axes["embed_dim"]).tolist()}
        for axes in points
        for seed in range(seeds)
        for token, (role, position) in enumerate(
            [
                ("relation", 0),
                ("relation", 1),
                ("A", 0),
                ("A", 1),
                ("B", 0),
                ("B", 1),
                ("unused", 0),
            ]
        )
    ]
    return aggregated(TABLES["embeddings"]).conform(pl.DataFrame(rows))


def separation(points, exponent=0.1, seeds=2) -> pl.DataFrame:
    """Losses for which the theorem's bound holds with equality at the given exponent."""
    rows = [
        {**axes, "seed": seed, "pair": pair, "epoch": epoch}
        | {"nll_forward": 4 * ratio, "nll_reverse": 5 * ratio**exponent}
        for axes in points
        for seed in range(seeds)
        for pair in (0, 1)
        for epoch, ratio in ((0, 1.0), (10, 0.5), (20, 0.01))
    ]
    return aggregated(TABLES["separation"]).conform(pl.DataFrame(rows))


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
SWEEPS = {
    "one point": [point()],
    "several widths": [point(embed_dim=d) for d in (16, 32, 64)],
}


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws(name, sweep):
    tables = {table: MAKERS[table](SWEEPS[sweep]) for table in FIGURES[name].tables}
    figure = draw(name, tables)
    figure.canvas.draw()
    assert figure.axes


@pytest.mark.parametrize("name", FIGURES)
def test_one_seed_is_enough_to_draw(name):
    tables = {
        table: MAKERS[table](SWEEPS["several widths"], seeds=1) for table in FIGURES[name].tables
    }
    draw(name, tables).canvas.draw()


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_table_is_refused(name):
    tables = {table: MAKERS[table]([point()]).clear() for table in FIGURES[name].tables}
    with pytest.raises(UserError, match="no rows"):
        draw(name, tables)


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_curves_have_one_panel_per_grid_point_and_both_chance_levels():
    table = metrics([point(vocab_size=v) for v in (200, 20, 50)])
    figure = draw("reversal_vocab", {"metrics": table})
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["V = 20", "V = 50", "V = 200"]
    shown = texts(figure)
    assert "ln 81 = 4.40" in shown
    assert "ln 20 = 3.00" in shown
    assert "mean of 3 seeds" in shown


def test_curves_show_the_mean_over_seeds_and_one_standard_deviation():
    figure = draw("reversal_curve", {"metrics": metrics([point()])})
    train = figure.axes[0].lines[0]
    assert train.get_ydata() == pytest.approx([4.1, 2.1, 0.1], abs=1e-5)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.0, abs=1e-5)  # 0.1 - sd of (0, 0.1, 0.2)


def test_curves_are_not_cut_off():
    table = metrics([point(), point(vocab_size=50)])
    table = table.with_columns(
        pl.when(pl.col("vocab_size") == 800).then(3.0).otherwise(1.0).cast(pl.Float32)
        * pl.col("nll_token").alias("nll_token")
    )
    figure = draw("reversal_vocab", {"metrics": table})
    assert figure.axes[0].get_ylim()[1] > table["nll_token"].max()


def test_logit_contrast_is_that_of_the_table():
    shown = texts(draw("reversal_logits", {"logits": logits([point()])}))
    assert "right − other: 8.0 ± 1.0" in shown  # 9 - mean of (0, 1, 2)
    assert "validation, unseen direction" in shown


def test_chain_logits_have_a_row_for_train_and_one_for_validation_triples():
    groups = {"train_forward": "train", "seen": "validation"}
    table = logits([point(task="chain")]).filter(pl.col("group").is_in(list(groups)))
    parts = [
        table.with_columns(group=pl.col("group").replace(groups) + f"_{direction}")
        for direction in ("a_to_b", "b_to_c", "a_to_c")
    ]
    figure = draw("chain_logits", {"logits": pl.concat(parts)})
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["A → B", "B → C", "A ⇝ C"]
    assert len([ax for ax in figure.axes if ax.images]) == 4 * 3


def test_masking_arms_come_in_order_with_a_dot_per_seed():
    arms = ["relation", "any_order", "object"]
    figure = draw("diffusion_masking", {"metrics": metrics([point(masking=a) for a in arms])})
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_xticklabels()] == ["any\norder", "B", "relation"]
    dots = [line for line in ax.lines if line.get_marker() in ("o", "^")]
    assert len(dots) == 6
    assert all(len(line.get_xdata()) == 3 for line in dots)


def test_families_stand_beside_each_other_for_every_encoding():
    points = [
        point(family=family, pos_encoding=encoding)
        for family in ("gpt", "masked_diffusion")
        for encoding in ("alibi", "none")
    ]
    figure = draw("diffusion_vs_autoregressive", {"metrics": metrics(points)})
    loss, accuracy = figure.axes
    assert [t.get_text() for t in loss.get_xticklabels()] == ["no\npositions", "ALiBi"]
    assert len([line for line in accuracy.lines if line.get_marker() in ("o", "^")]) == 8


def test_a_group_of_one_pair_has_no_contrast():
    table = logits([point()])
    lonely = (pl.col("group") == "unseen") & ((pl.col("query") > 0) | (pl.col("candidate") > 0))
    assert "one candidate only" in texts(draw("reversal_logits", {"logits": table.filter(~lonely)}))


def test_the_gap_is_unseen_minus_train_after_the_last_epoch():
    gaps = reversal_gap(metrics([point()]))
    assert gaps.height == 3
    assert gaps["gap"].to_list() == pytest.approx([6.0] * 3, abs=1e-5)


def test_the_overview_writes_the_gap_into_its_cells():
    table = metrics([point(layers=n, pos_encoding=e) for n in (1, 2) for e in ("none", "rotary")])
    shown = texts(draw("sweep_overview", {"metrics": table}))
    assert shown.count("6.0 ± 0.0") == 4


@pytest.mark.parametrize("exponent", [0.3, 0.0])
def test_the_exponent_of_the_bound_is_found(exponent):
    found = exponents(separation([point(embed_dim=d) for d in (16, 64)], exponent))
    assert found.height == 4
    assert found["exponent"].to_list() == pytest.approx([exponent] * 4, abs=1e-5)


def test_a_reverse_loss_that_grows_needs_no_exponent():
    found = exponents(separation([point()], exponent=-0.5))
    assert found["exponent"].to_list() == [0.0, 0.0]


def test_separation_without_anything_learned_is_refused():
    table = separation([point()]).with_columns(nll_forward=pl.lit(4.0, pl.Float32))
    with pytest.raises(UserError, match="learned in no run"):
        draw("bilinear_separation", {"separation": table})


def diverged(table: pl.DataFrame, seeds: list[int]) -> pl.DataFrame:
    late = (pl.col("epoch") > 0) & pl.col("seed").is_in(seeds)
    return table.with_columns(
        pl.when(late).then(float("nan")).otherwise("nll_token").alias("nll_token")
    )


def test_diverged_seeds_are_counted_and_the_others_drawn():
    figure = draw("reversal_curve", {"metrics": diverged(metrics([point()]), [2])})
    assert "1 of 3 seeds diverged" in figure.axes[0].get_title()
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([4.05, 2.05, 0.05], abs=1e-5)
    shown = texts(draw("sweep_overview", {"metrics": diverged(metrics([point()]), [2])}))
    assert "6.0 ± 0.0*\n1 of 3\ndiverged" in shown  # *: half of the training set learned


def test_bounds_show_the_exponent_and_one_in_m():
    points = [point(family="one_layer", task=task, vocab_size=80) for task in ("reversal", "chain")]
    figure = draw(
        "one_layer_bounds", {"sentence_nll": synthetic.sentence_nll(points, exponent=0.9)}
    )
    shown = texts(figure)
    assert "c = 0.90" in shown
    assert "M = 82" in shown
    held_out = figure.axes[1].lines[0].get_ydata()
    assert held_out == pytest.approx([1.0, 1.0])


def test_weights_show_asymmetry_and_intransitivity():
    points = [point(family="one_layer", task=task) for task in ("reversal", "chain")]
    shown = texts(draw("one_layer_weights", {"weights": synthetic.weights(points, seeds=2)}))
    assert "one direction held out: 1.00 ± 0.00" in shown
    assert "A to B: 10.0 ± 0.0" in shown
    assert "A to C: 0.0 ± 0.0" in shown


def test_score_correlations_are_those_of_the_table():
    points = [point(pos_encoding="rotary", embed_dim=64, heads=1)]
    table = synthetic.attention(points, before=0.3, after=-0.6)
    found = score_correlations(table).sort("epoch", "seed")
    assert found["correlation"].to_list() == pytest.approx([0.3, 0.3, -0.6, -0.6], abs=1e-6)
    assert found["head_dim"].unique().to_list() == [64]
    figure = draw("attention_correlation", {"attention": table})
    assert "rotary positions, D = 2, d$_h$ = 64" in texts(figure)


def test_gradient_figure_shows_every_look(root):
    points = [point(family=family, task="facts") for family in ("gpt", "masked_diffusion")]
    figure = draw("gradient_alignment", {"gradients": synthetic.gradients(points)})
    cosine = figure.axes[0].lines[0]
    assert cosine.get_xdata().tolist() == [0, 1, 8]
    assert cosine.get_ydata() == pytest.approx([0.8005] * 3)


def test_a_point_whose_every_seed_diverged_is_said_to_have():
    table = pl.concat([metrics([point()]), diverged(metrics([point(vocab_size=20)]), [0, 1, 2])])
    assert "3 of 3\ndiverged" in texts(draw("sweep_overview", {"metrics": table}))
    draw("reversal_vocab", {"metrics": table}).canvas.draw()


def test_figures_say_how_many_seeds_each_point_has():
    few, many = metrics([point()], seeds=1), metrics([point(vocab_size=20)], seeds=3)
    assert "mean of 1 to 3 seeds" in texts(
        draw("reversal_vocab", {"metrics": pl.concat([few, many])})
    )
    assert "mean of 1 seed;" in texts(draw("reversal_curve", {"metrics": few}))
    assert "±" not in texts(draw("sweep_overview", {"metrics": few})).replace("mean ± standard", "")


def test_the_cosine_of_random_directions():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, 20_000, 20))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    measured = np.abs((vectors[0] * vectors[1]).sum(1)).mean()
    assert random_absolute_cosine(20) == pytest.approx(measured, rel=0.02)
    assert random_absolute_cosine(768) == pytest.approx(math.sqrt(2 / (math.pi * 768)), rel=0.01)


def test_points_come_in_the_order_of_their_values_and_of_the_field():
    table = metrics([point(layers=n, pos_encoding=e) for n in (12, 2) for e in ("rotary", "none")])
    assert varying_axes(table) == ["layers", "pos_encoding"]
    labels = [label for label, _ in split_points(table)]
    assert labels == [
        "2 layers, no positions",
        "2 layers, rotary positions",
        "12 layers, no positions",
        "12 layers, rotary positions",
    ]


def test_variants_are_called_by_what_they_change_in_the_order_of_their_numbers(tmp_path):
    names = {"strong": "weight decay 10", "default": "weight decay 0.01", "more": "weight decay 9"}
    path = tmp_path / "metrics.parquet"
    table = metrics([point(variant=name) for name in names])
    write_table(path, table, aggregated(TABLES["metrics"]))
    output = tmp_path / "figure.pdf"
    render("reversal_weight_decay", [path], [output], names)
    renamed = table.with_columns(pl.col("variant").replace(names))
    labels = [label for label, _ in split_points(renamed)]
    assert labels == ["weight decay 0.01", "weight decay 9", "weight decay 10"]
    assert [ax.get_title() for ax in draw("reversal_weight_decay", {"metrics": renamed}).axes] == (
        labels
    )
    assert output.exists()


def test_files_are_written_whole_and_are_the_same_each_time(tmp_path):
    path = tmp_path / "metrics.parquet"
    write_table(path, metrics([point()]), aggregated(TABLES["metrics"]))
    outputs = [tmp_path / "figures" / f"reversal_curve.{suffix}" for suffix in ("pdf", "png")]
    render("reversal_curve", [path], outputs)
    first = [output.read_bytes() for output in outputs]
    render("reversal_curve", [path], outputs)
    assert [output.read_bytes() for output in outputs] == first
    assert sorted(p.name for p in outputs[0].parent.iterdir()) == [o.name for o in outputs]
    assert first[0].startswith(b"%PDF")
    with Image.open(outputs[1]) as image:
        assert min(image.size) > 300
        assert len(image.convert("RGB").getcolors(maxcolors=10**6)) > 10


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"unknown suffix; allowed: \.pdf, \.png"):
        render("reversal_curve", [tmp_path / "x"], [tmp_path / "figure.gif"])


def test_a_change_in_one_figure_is_no_change_in_another(tmp_path, monkeypatch):
    copy = tmp_path / "package"
    shutil.copytree(code_version.PACKAGE, copy)
    monkeypatch.setattr(code_version, "PACKAGE", copy)
    before = {name: figure_version(name) for name in FIGURES}
    (copy / "figures/embedding_cosine.py").write_text("changed")
    after = {name: figure_version(name) for name in FIGURES}
    assert {name for name in FIGURES if before[name] != after[name]} == {"embedding_cosine"}
    (copy / "figures/style.py").write_text("changed")
    assert all(figure_version(name) != after[name] for name in FIGURES)

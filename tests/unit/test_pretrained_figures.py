"""Figures of pretrained models, and what they and claims read off the tables."""

from __future__ import annotations

import matplotlib
import numpy as np
import polars as pl
import pytest

from reversal_curse.config.errors import UserError
from reversal_curse.config.plots import PLOTS
from reversal_curse.figures.render import draw
from reversal_curse.tables.pretrained_summaries import answer_means, head_correlations, learned

from . import synthetic

REVERSES = {"masked_diffusion": True, "causal": False}
MAKERS = {
    "pretrained_reversal": lambda seeds: synthetic.answers(REVERSES, seeds=seeds),
    "pretrained_attention": lambda seeds: synthetic.scores(True, seeds=seeds),
    "pretrained_gradients": lambda seeds: synthetic.pretrained_gradients(REVERSES, seeds=seeds),
}


def drawn(plot: str, table: pl.DataFrame):
    figure = draw(plot, dict.fromkeys(PLOTS[plot].tables, table))
    figure.canvas.draw()
    return figure


@pytest.mark.parametrize("seeds", [0, 1, 3])
@pytest.mark.parametrize("plot", MAKERS)
def test_every_plot_draws_also_without_fine_tuning(plot, seeds):
    assert drawn(plot, MAKERS[plot](seeds)).axes


def test_models_without_scores_are_said_to_have_none():
    figure = drawn("pretrained_attention", synthetic.scores(True).clear())
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    assert any(text.startswith("None of these models") for text in found)
    with pytest.raises(UserError, match="no rows"):
        drawn("pretrained_reversal", synthetic.answers(REVERSES).clear())


def test_steps_that_were_not_measured_are_left_out():
    table = synthetic.pretrained_gradients(REVERSES)
    drawn("pretrained_gradients", table.with_columns(actual_change=pl.lit(None, pl.Float64)))


def test_the_margin_is_what_another_facts_answer_costs_more():
    answers = synthetic.answers(REVERSES, seeds=2)
    means = answer_means(answers).filter(pl.col("seed") == 0, pl.col("stage") == "after")
    margins = {(row["kind"], row["direction"]): row["margin"] for row in means.to_dicts()}
    assert margins["masked_diffusion", "reverse"] == pytest.approx(9.5)
    assert margins["causal", "reverse"] == pytest.approx(0, abs=1e-6)
    assert margins["causal", "forward"] == pytest.approx(9.9)
    assert learned(answers).height == 4
    assert learned(answers.filter(pl.col("stage") == "before")).is_empty()


def test_correlations_are_those_within_relations():
    found = head_correlations(synthetic.scores(True))
    assert found.height == 4 * 4  # before, and three runs
    assert found["correlation"].min() > 0.95
    none = head_correlations(synthetic.scores(False))
    # The means of the relations alone would correlate with nearly 1.
    assert none["correlation"].abs().max() < 0.7
    outside = (none["correlation"] > none["null_high"]) | (none["correlation"] < none["null_low"])
    assert outside.mean() < 0.3


def test_what_the_length_of_the_subject_does_to_both_scores_does_not_count():
    long = pl.col("fact") % 3
    table = synthetic.scores(False).with_columns(
        (pl.col(name) + 9 * long).cast(pl.Float32) for name in ("score_forward", "score_reverse")
    )
    apart = head_correlations(table.with_columns(tokens=(1 + long).cast(pl.Int32)))
    assert head_correlations(table)["correlation"].min() > 0.9
    assert apart["correlation"].abs().max() < 0.7


def test_the_correlation_is_pearsons_and_the_null_is_centred():
    table = synthetic.scores(False).filter(pl.col("relation") == 0)
    found = head_correlations(table)
    first = table.filter(pl.col("stage") == "before", pl.col("layer") == 0, pl.col("head") == 0)
    direct = np.corrcoef(first["score_forward"], first["score_reverse"])[0, 1]
    assert found["correlation"][0] == pytest.approx(direct)
    middle = (found["null_low"] + found["null_high"]).mean() / 2
    assert middle == pytest.approx(0, abs=0.05)
    # 95 % of the correlations of 12 shuffled facts
    assert found["null_high"].mean() == pytest.approx(0.576, abs=0.06)


def test_a_fact_that_is_alone_in_its_relation_does_not_count():
    table = synthetic.scores(True)
    alone = table.filter(pl.col("fact") < 9).with_columns(
        relation=pl.when(pl.col("fact") == 8).then(7).otherwise(0).cast(pl.Int32)
    )
    without = alone.filter(pl.col("fact") < 8)
    assert head_correlations(alone).equals(head_correlations(without))
    assert head_correlations(alone.filter(pl.col("fact") == 8)).is_empty()

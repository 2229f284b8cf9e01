"""The one_layer family: its update, its bounds, its attention."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch

from reversal_curse.models.one_layer import OneLayer
from reversal_curse.training.loop import train

CPU = torch.device("cpu")


def one_layer_settings(small_settings, **overrides):
    values = {"family": "one_layer", "learning_rate": 0.5, "learning_rate_z": 0.5}
    return small_settings(**{**values, **overrides})


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def test_a_step_on_all_sentences_is_the_update_of_the_paper_sentence_by_sentence(
    small_settings, make_dataset
):
    """Y[x1, :] += eta (e_{x3} - softmax(Y[x1, :])): rows of different sentences do not meet."""
    settings = one_layer_settings(small_settings, epochs=5, eval_every=5, seeds=2)
    dataset = make_dataset(settings)
    table = train(settings, dataset, CPU)["sentence_nll"].filter(pl.col("epoch") == 5)
    expected = []
    for seed in (0, 1):
        y = np.zeros((22, 22))
        for _ in range(5):
            for first, _, last in dataset.split("train")[seed]:
                y[first] += 0.5 * (np.eye(22)[last] - softmax(y[first]))
        held_out = dataset.tokens(pl.col("pair_split") == "validation")[seed]
        expected += [-math.log(softmax(y[a])[b]) for a, _, b in held_out]
    assert table["nll"].to_list() == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_what_is_seen_follows_the_closed_form_and_what_is_not_stays_at_one_in_m(
    small_settings, make_dataset
):
    settings = one_layer_settings(small_settings, vocab_size=80, epochs=1000, eval_every=1000)
    table = train(settings, make_dataset(settings), CPU)["sentence_nll"]
    assert table.select("tokens", "learning_rate").unique().row(0) == (82, 0.5)
    p = (-table["nll"]).exp()
    seen = table.filter(pl.col("split") == "train", pl.col("epoch") == 1000)
    left = -np.expm1(-seen["nll"].to_numpy())
    assert left == pytest.approx(81 / (82 * 0.5 * 1000), rel=0.03)
    unseen = p.filter(table["split"] == "unseen").to_numpy() * 82
    assert np.abs(unseen - 1).max() < 1e-12


@pytest.mark.slow
def test_the_leap_of_a_held_out_chain_stays_below_one_in_m(small_settings, make_dataset):
    settings = one_layer_settings(small_settings, task="chain", epochs=1000, eval_every=1000)
    table = train(settings, make_dataset(settings), CPU)["sentence_nll"]
    held_out = table.filter(pl.col("pair_split") == "validation")
    p = held_out.with_columns(p=(-pl.col("nll")).exp())
    assert p.filter(pl.col("split") == "unseen")["p"].max() <= 1 / 22 + 1e-15
    steps = p.filter(pl.col("split") == "train", pl.col("epoch") == 1000)
    assert set(steps["direction"]) == {"a_to_b", "b_to_c"}
    assert steps["p"].min() > 0.99


def test_attention_reads_what_stands_before_the_query():
    """Two answer tokens of a sentence of five, against the formulas spelt out."""
    model = OneLayer(1, 6, CPU)
    generator = torch.manual_seed(0)
    with torch.no_grad():
        model.y.normal_(generator=generator)
        model.z.normal_(generator=generator)
    y, z = model.y[0].detach().numpy(), model.z[0].detach().numpy()
    sentence = [1, 4, 1, 5, 2]
    logits = model.logits(torch.tensor([[sentence]]), 2)[0, 0].detach().numpy()
    for place, answer in enumerate((3, 4)):
        query, before = sentence[answer - 1], sentence[: answer - 1]
        b = softmax(z[query, before])
        f = sum(weight * np.eye(6)[token] for weight, token in zip(b, before, strict=True))
        assert logits[place] == pytest.approx(y.T @ f / np.linalg.norm(f), abs=1e-12)


def test_attention_is_learned_where_the_fact_stands_in_the_sentence(small_settings, make_dataset):
    settings = one_layer_settings(
        small_settings, task="in_context", epochs=60, eval_every=60, learning_rate_z=0.1
    )
    metrics = train(settings, make_dataset(settings), CPU)["metrics"]
    last = metrics.filter(pl.col("epoch") == 60)
    assert last["accuracy"].min() == 1.0


def test_weights_are_one_sided_for_held_out_pairs_and_mutual_for_train_pairs(
    small_settings, make_dataset
):
    settings = one_layer_settings(small_settings, vocab_size=40, epochs=100)
    weights = train(settings, make_dataset(settings), CPU)["weights"]
    partners = weights.filter(
        pl.col("source") == pl.col("target"), pl.col("source_role") != pl.col("target_role")
    )
    assert partners.height == 3 * 2 * 10
    large = partners.with_columns(large=pl.col("weight") > 1)
    both = large.group_by("seed", "pair_split", "source").agg(pl.col("large").sum())
    assert set(both.filter(pl.col("pair_split") == "train")["large"]) == {2}
    assert set(both.filter(pl.col("pair_split") == "validation")["large"]) == {1}
    others = weights.filter(pl.col("source") != pl.col("target"))
    assert others["weight"].max() < 0.5

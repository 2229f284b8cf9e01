"""The one_layer family: its update, its bounds, its attention."""

import math

import numpy as np
import polars as pl
import pytest
import torch

from reversal_curse.models.one_layer import OneLayer
from reversal_curse.training.one_layer import start
from small_runs import CPU, dataset_of, small_settings, trained


def one_layer(**overrides):
    rates = {"learning_rate": 0.5, "learning_rate_z": 0.5}
    return small_settings(**{"family": "one_layer", **rates, **overrides})


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def test_a_step_on_all_sentences_equals_the_papers_updates_for_each_sentence():
    """Y[x1, :] += eta (e_{x3} - softmax(Y[x1, :])): sentences change different rows."""
    settings = one_layer(epochs=5, eval_every=5, seeds=2)
    dataset = dataset_of(settings)
    expected = []
    for seed in (0, 1):
        y = np.zeros((22, 22))
        for _ in range(5):
            for first, _, last in dataset.split("train")[seed]:
                y[first] += 0.5 * (np.eye(22)[last] - softmax(y[first]))
        held_out = dataset.tokens(pl.col("pair_split") == "validation")[seed]
        expected += [-math.log(softmax(y[a])[b]) for a, _, b in held_out]
    table = trained(settings)["sentence_nll"].filter(epoch=5)
    assert table["nll"].to_list() == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_seen_sentences_follow_the_closed_form_and_unseen_ones_stay_at_one_in_m():
    settings = one_layer(vocab_size=80, epochs=1000, eval_every=1000)
    table = trained(settings)["sentence_nll"]
    assert table.select("tokens", "learning_rate").unique().row(0) == (82, 0.5)
    seen = table.filter(split="train", epoch=1000)
    left = -np.expm1(-seen["nll"].to_numpy())
    assert left == pytest.approx(81 / (82 * 0.5 * 1000), rel=0.03)
    unseen = (-table.filter(split="unseen")["nll"]).exp().to_numpy() * 82
    assert np.abs(unseen - 1).max() < 1e-12


@pytest.mark.slow
def test_the_leap_of_a_held_out_chain_stays_below_one_in_m():
    table = trained(one_layer(task="chain", epochs=1000, eval_every=1000))["sentence_nll"]
    p = table.filter(pair_split="validation").with_columns(p=(-pl.col("nll")).exp())
    assert p.filter(split="unseen")["p"].max() <= 1 / 22 + 1e-15
    steps = p.filter(split="train", epoch=1000)
    assert set(steps["direction"]) == {"a_to_b", "b_to_c"}
    assert steps["p"].min() > 0.99


def test_attention_reads_the_tokens_before_the_query():
    """Two answer tokens of a sentence of five must agree with the plain formulas."""
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


def test_a_factorised_model_learns_its_facts_and_trains_both_factors():
    settings = one_layer(factorised=True, learning_rate=0.1, epochs=100, eval_every=100)
    assert trained(settings)["metrics"].filter(epoch=100, split="train")["accuracy"].min() == 1.0
    training = start(settings, dataset_of(settings), CPU)
    v, o = (factor.detach().clone() for factor in training.learner.model.factors)
    training.epoch()
    assert not torch.equal(training.tensors["y0"], v)
    assert not torch.equal(training.tensors["y1"], o)


def test_attention_is_learned_if_the_fact_is_in_the_sentence():
    settings = one_layer(task="in_context", epochs=60, eval_every=60, learning_rate_z=0.1)
    assert trained(settings)["metrics"].filter(epoch=60)["accuracy"].min() == 1.0


def test_weights_are_one_sided_for_held_out_pairs_and_mutual_for_train_pairs():
    weights = trained(one_layer(vocab_size=40, epochs=100))["weights"]
    partners = weights.filter(
        pl.col("source") == pl.col("target"), pl.col("source_role") != pl.col("target_role")
    )
    assert partners.height == 3 * 2 * 10
    large = partners.group_by("seed", "pair_split", "source").agg((pl.col("weight") > 1).sum())
    assert set(large.filter(pair_split="train")["weight"]) == {2}
    assert set(large.filter(pair_split="validation")["weight"]) == {1}
    others = weights.filter(pl.col("source") != pl.col("target"))
    assert others["weight"].max() < 0.5

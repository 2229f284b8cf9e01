"""The bilinear family."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from reversal_curse.models.bilinear import Bilinear
from reversal_curse.models.random_streams import seed_generators
from reversal_curse.tables.summaries import exponents
from reversal_curse.training.loop import train

CPU = torch.device("cpu")


def bilinear_settings(small_settings, **overrides):
    return small_settings(family="bilinear", embed_dim=64, learning_rate=2.0, **overrides)


def test_closed_form_gradient_is_that_of_autograd():
    model = Bilinear(30, 8, 0.5, seed_generators([0, 1], "init"))
    model.embeddings, theta = model.embeddings.double(), model.theta.double().requires_grad_()
    model.theta = theta
    subjects = torch.tensor([[2, 3, 4, 5], [6, 7, 8, 9]])
    objects = torch.tensor([[5, 9, 2, 20], [3, 3, 29, 0]])
    log_p = model.logits(subjects).log_softmax(-1).gather(-1, objects[..., None])
    (-log_p.mean((1, 2)).sum()).backward()
    torch.testing.assert_close(model.gradient(subjects, objects), theta.grad)


def test_embeddings_of_many_dimensions_are_nearly_orthonormal():
    gram = Bilinear(40, 4096, 0.01, seed_generators([0], "init")).embeddings[0]
    gram = gram @ gram.T
    assert (gram - torch.eye(40)).abs().max() < 0.15


def test_the_trained_direction_is_learned_and_the_held_out_one_is_not(small_settings, make_dataset):
    settings = bilinear_settings(small_settings, epochs=400, eval_every=100)
    tables = train(settings, make_dataset(settings), CPU)
    last = tables["separation"].filter(pl.col("epoch") == 400)
    assert last["nll_forward"].max() < 0.1
    assert last["nll_reverse"].min() > last["nll_forward"].max() + 1
    metrics = tables["metrics"].filter(pl.col("epoch") == 400)
    assert metrics.filter(pl.col("split") == "train")["accuracy"].min() == 1.0


def test_the_exponent_does_not_depend_on_how_often_metrics_are_taken(small_settings, make_dataset):
    found = []
    for every in (1, 7, 200):
        settings = bilinear_settings(small_settings, vocab_size=80, epochs=200, eval_every=every)
        table = train(settings, make_dataset(settings), CPU)["separation"]
        found.append(exponents(table.with_columns(embed_dim=pl.lit(64)))["exponent"].to_list())
    assert found[0] == found[1] == found[2]
    assert max(found[0]) > 0


def test_separation_follows_every_held_out_pair(small_settings, make_dataset):
    settings = bilinear_settings(small_settings, vocab_size=80, epochs=10, eval_every=1)
    dataset = make_dataset(settings)
    table = train(settings, dataset, CPU)["separation"]
    held_out = (
        dataset.table.filter(pl.col("split") == "unseen")
        .select("seed", "pair")
        .sort("seed", "pair")
    )
    assert (
        table.filter(pl.col("epoch") == 5)
        .select("seed", "pair")
        .sort("seed", "pair")
        .equals(held_out)
    )
    # The mean over pairs is the loss of the unseen split: pairs are not mixed up with each other.
    unseen = (
        train(settings, dataset, CPU)["metrics"]
        .filter(pl.col("split") == "unseen")
        .sort("seed", "epoch")
    )
    means = table.group_by("seed", "epoch").agg(pl.col("nll_reverse").mean()).sort("seed", "epoch")
    assert means["nll_reverse"].to_list() == pytest.approx(unseen["nll_token"].to_list(), abs=1e-5)

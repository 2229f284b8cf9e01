"""The bilinear family."""

import polars as pl
import pytest
import torch

from reversal_curse.models.bilinear import Bilinear
from reversal_curse.models.random_streams import seed_generators
from reversal_curse.tables.summaries import exponents
from small_runs import CPU, dataset_of, small_settings, trained


def bilinear(**overrides):
    return small_settings(family="bilinear", embed_dim=64, learning_rate=2.0, **overrides)


def test_a_step_on_cross_entropy_follows_the_closed_form():
    """Theta += eta mean x (y - E_p[y])^T: Zhu et al. 2024, section 3."""
    settings = bilinear(epochs=1, init_std=0.5, seeds=1)
    generators = seed_generators([0], "init")
    model = Bilinear(22, 64, 0.5, generators, CPU)
    x, theta = model.embeddings[0].double(), model.theta[0].detach().double()
    tokens = torch.from_numpy(dataset_of(settings).split("train")[0])
    first, last = x[tokens[:, 0]], x[tokens[:, -1]]
    expected = (first @ theta @ x.T).softmax(-1) @ x
    theta += 2.0 * first.T @ (last - expected) / len(tokens)
    nll = -(first @ theta @ x.T).log_softmax(-1)[range(len(tokens)), tokens[:, -1]]
    found = trained(settings)["metrics"].filter(epoch=1, split="train")["nll_token"]
    assert found.item() == pytest.approx(nll.mean().item(), abs=1e-5)


def test_embeddings_of_many_dimensions_are_nearly_orthonormal():
    gram = Bilinear(40, 4096, 0.01, seed_generators([0], "init"), CPU).embeddings[0]
    gram = gram @ gram.T
    assert (gram - torch.eye(40)).abs().max() < 0.15


def test_the_trained_direction_is_learned_and_the_held_out_one_is_not():
    tables = trained(bilinear(epochs=400, eval_every=100))
    last = tables["separation"].filter(epoch=400)
    assert last["nll_forward"].max() < 0.1
    assert last["nll_reverse"].min() > last["nll_forward"].max() + 1
    assert tables["metrics"].filter(epoch=400, split="train")["accuracy"].min() == 1.0


def test_the_exponent_does_not_depend_on_how_often_metrics_are_taken():
    found = []
    for every in (1, 7, 200):
        table = trained(bilinear(vocab_size=80, epochs=200, eval_every=every))["separation"]
        found.append(exponents(table.with_columns(embed_dim=pl.lit(64)))["exponent"].to_list())
    assert found[0] == found[1] == found[2]
    assert max(found[0]) > 0


def test_separation_follows_every_held_out_pair():
    settings = bilinear(vocab_size=80, epochs=10, eval_every=1)
    tables = trained(settings)
    table = tables["separation"].sort("seed", "epoch", "pair")
    held_out = dataset_of(settings).table.filter(split="unseen").sort("seed", "pair")
    assert table.filter(epoch=5)["seed", "pair"].equals(held_out["seed", "pair"])
    # The mean over pairs must be the loss of the unseen split, or pairs are mixed up.
    unseen = tables["metrics"].filter(split="unseen").sort("seed", "epoch")
    means = table.group_by("seed", "epoch", maintain_order=True).agg(pl.mean("nll_reverse"))
    assert means["nll_reverse"].to_list() == pytest.approx(unseen["nll_token"].to_list(), abs=1e-5)

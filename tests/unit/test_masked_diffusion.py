"""The masked_diffusion family: its objective, its masking arms, its seeds."""

import itertools
import math

import polars as pl
import pytest
import torch

from reversal_curse.config.settings import choices
from reversal_curse.models.random_streams import no_dropout, seed_generators
from reversal_curse.models.transformer import Transformer
from reversal_curse.tasks.masking_arms import MASKINGS
from reversal_curse.training import masked_diffusion
from reversal_curse.training.masked_diffusion import Masking
from small_runs import CPU, dataset_of, small_settings, trained

DRAWN = {"task": "facts", "family": "masked_diffusion", "layers": 1, "pos_encoding": "rotary"}


def test_the_loss_is_an_unbiased_estimate_of_the_any_order_likelihood():
    """For three tokens, it is the mean of -ln p per token over all orders of unmasking them."""
    settings = small_settings(**DRAWN, seeds=1, vocab_size=8)
    dataset = dataset_of(settings)
    model = masked_diffusion.build_model(settings, dataset, CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.manual_seed(1)))
    sentence = torch.from_numpy(dataset.split("train"))[:, :1]  # (1, 1, 3)
    mask = masked_diffusion.mask_token(settings)

    def nll(position: int, known: set[int]) -> float:
        hidden = [place for place in range(3) if place not in known]
        query = sentence.clone()
        query[:, :, hidden] = mask
        log_p = model(query, 3).log_softmax(-1)[0, 0, position]
        return -log_p[sentence[0, 0, position]].item()

    orders = list(itertools.permutations(range(3)))
    exact = sum(
        nll(position, set(order[:step])) for order in orders for step, position in enumerate(order)
    ) / (3 * len(orders))
    draws = 40_000
    masking = Masking(settings, seed_generators([0], "masking"))
    with torch.no_grad():
        many = sentence.expand(-1, draws, -1)
        masked, weights, asked = masking(many)
        hidden = many.masked_fill(masked, mask)
        log_p = model(hidden, 3).log_softmax(-1)
        each = (weights * -log_p.gather(-1, many[..., None]).squeeze(-1)).sum(-1)[0]
        loss = masked_diffusion.diffusion_loss(model, many, hidden, weights, asked, no_dropout)
        torch.testing.assert_close(loss, each.mean()[None])
    standard_error = each.std().item() / math.sqrt(draws)
    assert standard_error < 0.05 * exact
    assert each.mean().item() == pytest.approx(exact, abs=4 * standard_error)


@pytest.mark.parametrize("arm", MASKINGS)
def test_an_arm_masks_what_its_name_says(arm):
    sentences = torch.zeros(2, 500, 5, dtype=torch.long)  # one-token entities, distance 3
    masking = Masking(small_settings(**DRAWN, masking=arm), seed_generators([0, 1], "masking"))
    masked, weights, asked = masking(sentences)
    subject, relation, object_ = masked[..., 0], masked[..., 1:-1], masked[..., -1]
    assert not weights[~masked].any()
    if arm == "any_order":
        assert asked == 5
        assert masked.float().mean().item() == pytest.approx(0.5, abs=0.05)
        return
    assert torch.equal(torch.zeros_like(masked).scatter(-1, asked, True), masked)
    assert asked.shape[-1] == MASKINGS[arm].masked(5, 1)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 500))
    assert relation.all() if arm == "relation" else not relation.any()
    if arm == "either":
        assert (subject ^ object_).all()
        assert subject.float().mean().item() == pytest.approx(0.5, abs=0.1)
    else:
        assert subject.all() if arm in ("subject", "both") else not subject.any()
        assert object_.all() if arm in ("object", "both") else not object_.any()


@pytest.mark.slow
def test_any_order_masking_teaches_the_reverse_and_masking_only_the_object_does_not():
    size = {"heads": 1, "embed_dim": 64, "vocab_size": 40, "dropout": 0.0}
    pace = {"epochs": 800, "eval_every": 800, "learning_rate": 0.001}
    final = {}
    for masking in ("any_order", "object"):
        metrics = trained(small_settings(**DRAWN, **size, **pace, masking=masking))["metrics"]
        means = metrics.filter(epoch=800).group_by("split").agg(pl.mean("nll_token"))
        final |= {(masking, split): loss for split, loss in means.iter_rows()}
    assert final["any_order", "train"] < 1
    assert final["any_order", "unseen"] < 1
    assert final["object", "train"] < 0.1
    assert final["object", "unseen"] > math.log(40 // 4)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pos_encoding", choices("pos_encoding"))
def test_logits_at_asked_positions_equal_those_computed_at_all(pos_encoding, causal):
    settings = small_settings(pos_encoding=pos_encoding)
    model = Transformer(settings, 22, 6, seed_generators([0, 1], "init"), causal)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(22, (2, 5, 6), generator=generator)
    asked = torch.rand(2, 5, 6, generator=generator).argsort(-1)[..., :3]
    everywhere = model(tokens, 6)
    expected = everywhere.gather(2, asked[..., None].expand(-1, -1, -1, 22))
    torch.testing.assert_close(model(tokens, asked), expected)

"""Probes agree with plain computations: attention scores, gradients, first-order changes."""

import math

import numpy as np
import polars as pl
import pytest
import torch

from reversal_curse.config.settings import choices
from reversal_curse.families import FAMILIES
from reversal_curse.models.learner import SHOWN, UNSEEN, Learner
from reversal_curse.models.positions import apply_rotary, rotary_angles
from reversal_curse.probes import asymmetry, attention, chain_of_thought, gradients, logits
from reversal_curse.tables.summaries import rotary_correlation
from reversal_curse.training import gpt
from small_runs import CPU, dataset_of, small_settings, trained


def learner_of(settings) -> Learner:
    """Build an untrained learner whose weights are large enough for attention to matter."""
    learner = FAMILIES[settings.family].load_start()(settings, dataset_of(settings), CPU).learner
    with torch.no_grad():
        for name, parameter in learner.model.named_parameters():
            if "ln_" not in name:
                parameter.mul_(3.0)
    return learner


@torch.no_grad()
def gradients_of(learner: Learner) -> pl.DataFrame:
    return gradients.probe(learner)


def facts(**overrides):
    given = {"task": "facts", "family": "masked_diffusion", "distance": 2}
    return small_settings(**given | overrides)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_attention_scores_are_those_of_the_weights(fraction):
    """One rotary layer: S = q_M^T R(D) k_B from the weights of one seed, one fact, one head."""
    settings = facts(layers=1, pos_encoding="rotary", rotary_fraction=fraction)
    learner = learner_of(settings)
    table = attention.probe(learner)
    assert table.height == 3 * 2 * 5
    seed, head, fact, d = 1, 1, 3, 8
    model = learner.model
    shown = dataset_of(settings).tokens(SHOWN)[seed, fact]
    weight = model.blocks[0].attention.qkv.weight[seed].detach().double().numpy()

    def projected(token: int, part: int) -> np.ndarray:
        x = model.wte[seed, token].detach().double().numpy()
        normed = (x - x.mean()) / math.sqrt(x.var() + 1e-5)
        return (normed @ weight)[part * 16 + head * d : part * 16 + head * d + d]

    query, key = projected(learner.mask, 0), projected(shown[-1], 1)
    rotated = round(fraction * d)
    theta = 10000.0 ** (-np.arange(0, rotated, 2) / rotated)
    for column, displacement in (("score_forward", 3), ("score_reverse", -3)):
        turned = key.copy()
        for j, angle in enumerate(displacement * theta):
            a, b = key[2 * j], key[2 * j + 1]
            turned[2 * j] = a * math.cos(angle) - b * math.sin(angle)
            turned[2 * j + 1] = a * math.sin(angle) + b * math.cos(angle)
        row = table.filter(head=head, seed=seed)[fact]
        assert row[column].item() == pytest.approx(query @ turned / math.sqrt(d), rel=1e-4)
        assert row["displacement"].item() == 3


def test_values_are_read_through_the_head_for_the_answers_of_the_facts_alone():
    """One layer, absolute positions: e_A^T W_U W_O W_V e_B of one seed, one fact, one head."""
    settings = facts(layers=1, pos_encoding="absolute", exposure=True)
    learner = learner_of(settings)
    model = learner.model
    with torch.no_grad():
        model.ln_f.weight.uniform_(0.5, 1.5)
        model.blocks[0].attention.qkv.weight[..., :32] = 0  # without queries all scores are equal
    table = attention.probe(learner)
    seed, head, fact, d = 1, 1, 3, 8
    shown = dataset_of(settings).tokens(SHOWN)[seed]
    block = model.blocks[0]
    weights = (block.attention.qkv.weight, block.attention.proj.weight, model.head)
    weights += (model.ln_f.weight, model.wte, model.wpe)
    w_v, w_o, w_u, gain, wte, wpe = (w[seed].detach().double().numpy() for w in weights)
    part = slice(head * d, head * d + d)
    row = table.filter(head=head, seed=seed)[fact]
    for layout, place in (("forward", 3), ("reverse", 0)):
        x = wte[shown[fact, -1]] + wpe[place]
        normed = (x - x.mean()) / math.sqrt(x.var() + 1e-5)
        written = (normed @ w_v[:, 32:][:, part]) @ w_o[part]
        logits = ((written - written.mean()) * gain[0]) @ w_u[:, shown[:, 0]]
        own, others = logits[fact], np.delete(logits, fact)
        margin, rank = row[f"value_margin_{layout}"].item(), row[f"value_rank_{layout}"].item()
        assert margin == pytest.approx(own - others.mean(), rel=1e-3)
        assert rank == (others < own).mean()
        assert row[f"weight_{layout}"].item() == pytest.approx(1 / 4), "one of four tokens"


@pytest.mark.parametrize("pos_encoding", ["none", "alibi"])
def test_without_rotation_both_layouts_have_the_same_scores(pos_encoding):
    table = attention.probe(learner_of(facts(layers=1, pos_encoding=pos_encoding)))
    assert np.allclose(table["score_forward"], table["score_reverse"], atol=1e-6)


@pytest.mark.parametrize("displacement", [1, 2, 5, 11])
@pytest.mark.parametrize("features", [8, 64, 128])
def test_the_closed_form_is_the_correlation_of_isotropic_queries_and_keys(displacement, features):
    generator = torch.manual_seed(0)
    query, key = torch.randn(2, 40_000, 1, features, generator=generator)
    angles = rotary_angles(displacement + 1, features, CPU)
    still, turned = angles[:1], angles[displacement:]
    forward = (apply_rotary(query, still) * apply_rotary(key, turned)).sum(-1).flatten()
    reverse = (apply_rotary(query, turned) * apply_rotary(key, still)).sum(-1).flatten()
    measured = torch.corrcoef(torch.stack([forward, reverse]))[0, 1].item()
    assert measured == pytest.approx(rotary_correlation(displacement, features), abs=0.02)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"family": "gpt"},
        {"family": "gpt", "copy_first": "masked"},
        {"family": "gpt", "task": "inverse", "bridge": "full", "forward_copies": 2},
    ],
    ids=str,
)
def test_the_step_is_undone_and_its_first_order_is_right(overrides):
    learner = learner_of(facts(pos_encoding="rotary", **overrides))
    before = [parameter.clone() for parameter in learner.model.parameters()]
    table = gradients_of(learner)
    after = list(learner.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert (table["predicted_change"] - table["actual_change"]).abs().max() < 2e-3
    whole = table.filter(group="all")
    errors = (whole["actual_change"] - whole["predicted_change"]).abs().mean()
    assert errors < 0.25 * whole["predicted_change"].abs().mean()


@pytest.mark.parametrize("pos_encoding", choices("pos_encoding"))
def test_groups_partition_the_parameters(pos_encoding):
    learner = learner_of(facts(pos_encoding=pos_encoding))
    groups = learner.model.parameter_groups()
    sizes = dict(learner.model.named_parameters())
    total = {
        group: sum(sizes[name][..., place].numel() for name, place in parts)
        for group, parts in groups.items()
    }
    assert total.pop("all") == sum(total.values())
    assert set(total) == {"attention", "values", "mlp", "embeddings", "head", "norms"}
    table = gradients_of(learner)
    parts = table.filter(pl.col("group") != "all").group_by("seed", maintain_order=True)
    summed = parts.agg(pl.col("predicted_change").sum())["predicted_change"].to_list()
    whole = table.filter(group="all")["predicted_change"].to_list()
    assert summed == pytest.approx(whole, rel=1e-5)


def test_the_cosine_of_the_head_is_that_of_its_closed_form():
    """Logits are h^T W, so each gradient is h (p - e_A)^T: see Jeon et al. 2026."""
    learner = learner_of(facts(vocab_size=8, seeds=1, pos_encoding="rotary"))
    table = gradients_of(learner)
    captured = []
    learner.model.ln_f.register_forward_hook(lambda module, inputs, out: captured.append(out))
    answers = learner.sentences(SHOWN)[0, :, 0]
    pairs = []
    with torch.no_grad():
        for rows, place in ((SHOWN, 0), (UNSEEN, -1)):
            tokens = learner.sentences(rows).clone()
            tokens[:, :, place] = learner.mask
            logits = learner.model(tokens, tokens.shape[-1])[0, :, place, : learner.mask]
            h = captured[-1].view(2, tokens.shape[-1], -1)[:, place]
            residual = logits.softmax(-1)
            residual[range(2), answers] -= 1
            pairs.append((h, residual))
    of_h, of_residuals = (torch.cosine_similarity(*both) for both in zip(*pairs, strict=True))
    expected = of_h * of_residuals
    assert table.filter(group="head")["cosine"].item() == pytest.approx(
        expected.mean().item(), abs=1e-5
    )


def test_frozen_and_tied_parameters_leave_no_group_of_their_own():
    learner = learner_of(facts(tie_head=True, freeze_embeddings=True))
    table = gradients_of(learner)
    assert set(table["group"]) == {"all", "attention", "values", "mlp", "norms"}


def test_the_control_asks_for_the_answers_of_other_facts():
    table = gradients_of(learner_of(facts(pos_encoding="none", layers=1)))
    head = table.filter(group="head")
    # Without positions the model cannot tell both layouts apart: the gradients are the same.
    assert head["cosine"].to_list() == pytest.approx([1.0] * 3, abs=1e-5)
    assert head["cosine_control"].abs().max() < 0.2


def test_an_answer_of_several_tokens_is_asked_for_after_its_own_first_tokens():
    settings = small_settings(entity_length=2, layers=1)
    dataset = dataset_of(settings)
    model = gpt.build_model(settings, dataset, CPU)
    learner = Learner(settings, dataset, CPU, model, lambda s: model(s[:, :, :-1], 2))
    unseen = learner.sentences(UNSEEN)
    wrong = unseen[:, :, -2:].roll(1, dims=1)
    spelt = torch.cat((unseen[:, :, :-2], wrong), dim=-1)
    assert torch.equal(learner.nll(unseen, wrong), learner.nll(spelt))
    assert not torch.equal(learner.nll(unseen, wrong), learner.nll(unseen))


def test_the_closed_form_has_known_values_and_partial_rotation_raises_it():
    values = [rotary_correlation(displacement, 128) for displacement in (1, 2, 10)]
    assert values == pytest.approx([0.90, 0.76, 0.61], abs=0.005)
    assert rotary_correlation(3, 16, 16) == rotary_correlation(3, 16)
    assert rotary_correlation(3, 16, 0) == 1.0
    halves = (rotary_correlation(3, 8, 8) + 1) / 2
    assert rotary_correlation(3, 16, 8) == pytest.approx(halves)


def test_a_task_without_the_pairs_that_a_probe_compares_has_no_rows():
    assert attention.probe(learner_of(facts(task="chain", distance=1))).is_empty()
    for task in ("in_context", "relational"):
        assert gradients_of(learner_of(small_settings(task=task, vocab_size=40))).is_empty()
    assert logits.probe(learner_of(small_settings(copy_first="masked"))).is_empty()
    assert chain_of_thought.probe(learner_of(small_settings())).is_empty()
    assert asymmetry.probe(learner_of(facts(family="gpt"))).is_empty()


@torch.no_grad()
def answered(learner: Learner, *prompt: int) -> list[int]:
    """Answer one prompt of the first seed greedily, word by word."""
    spelt = torch.tensor([[*prompt]])
    every = spelt.expand(len(learner.dataset.seeds), 1, -1)
    for _ in range(learner.answer_length):
        every = torch.cat((every, learner.model(every, 1).argmax(-1)), -1)
    return every[0, 0, len(prompt) :].tolist()


@pytest.mark.parametrize("length", [1, 2])
def test_the_second_step_starts_from_the_models_own_answer_to_the_first(length):
    size = {"entity_length": length, "vocab_size": 40, "dropout": 0.0, "learning_rate": 0.01}
    settings = small_settings(task="chain", **size)
    dataset = dataset_of(settings)
    training = gpt.start(settings, dataset, CPU)
    learner, reached = training.learner, set()
    for epoch in range(60):
        training.epoch()
        if epoch % 5:
            continue
        with torch.no_grad():
            table = chain_of_thought.probe(learner).filter(seed=0)
        for _, fact, split, steps, leap in table.iter_rows():
            told = dataset.table.filter(seed=0, pair=fact).select("direction", "tokens")
            tokens = dict(told.iter_rows())
            first, c = tokens["a_to_b"][: length + 1], tokens["b_to_c"][-length:]
            own = answered(learner, *first)
            assert steps == (answered(learner, *own, first[-1]) == c)
            assert leap == (answered(learner, *tokens["a_to_c"][: length + 1]) == c)
            reached.add((split, steps, leap))
    assert {("validation", True, False), ("train", True, True)} <= reached


def test_masked_diffusion_and_one_layer_models_are_asked_for_chains_too():
    for family in ("masked_diffusion", "one_layer"):
        table = trained(small_settings(task="chain", family=family))["chain_of_thought"]
        assert table.group_by("seed", "epoch").len()["len"].to_list() == [5] * 3 * 7


@torch.no_grad()
def test_contrasts_are_logits_of_the_answer_minus_the_mean_of_others_in_both_directions():
    settings = small_settings(vocab_size=40)
    learner = learner_of(settings)
    table = asymmetry.probe(learner).filter(seed=1)
    facts = dataset_of(settings).table.filter(pl.col("seed") == 1, pair_split="validation")
    for column, split in (("contrast_seen", "train"), ("contrast_unseen", "unseen")):
        for fact, direction, (query, relation, right) in (
            facts.filter(split=split).select("pair", "direction", "tokens").iter_rows()
        ):
            alike = facts.filter(split=split, direction=direction)["tokens"].list.last().to_list()
            spelt = torch.tensor([[[query, relation]]]).expand(3, 1, -1)
            logits = learner.model(spelt, 1)[1, 0, 0]
            others = [logits[other].item() for other in alike if other != right]
            found = table.filter(pair=fact)[column].item()
            assert (found is None) == (not others)
            if others:
                assert found == pytest.approx(logits[right].item() - np.mean(others), rel=1e-3)


def test_probes_follow_training():
    tables = trained(facts(epochs=20, eval_every=20))
    for name in ("attention", "gradients"):
        epochs = tables[name]["epoch"].unique().sort().to_list()
        assert epochs == [0, 1, 2, 4, 8, 16, 20]

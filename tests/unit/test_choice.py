"""Forced choice: what a model knows apart from what it says, against probabilities spelt out."""

import math

import polars as pl
import pytest
import torch

from reversal_curse.models.choice import Choices, choice_measures
from reversal_curse.models.learner import Learner
from reversal_curse.tasks.task import SPLITS
from reversal_curse.training import gpt
from small_runs import CPU, dataset_of, small_settings, trained

MEASURES = ("nll_choice", "accuracy_choice", "rank_choice", "nll_set")


def candidates_by_hand(table: pl.DataFrame, row: dict, length: int) -> list[tuple[int, ...]]:
    """List the distinct answers of the queries of a row's seed, split and direction."""
    alike = table.filter(pl.col(key) == row[key] for key in ("seed", "split", "direction"))
    return sorted({tuple(tokens[-length:]) for tokens in alike["tokens"]})


@pytest.mark.parametrize(
    "overrides",
    [
        {"vocab_size": 40},
        {"vocab_size": 20, "entity_length": 2},
        {"task": "chain", "vocab_size": 20},
        {"task": "chain_related", "vocab_size": 40, "train_facts": 8},
        {"task": "in_context", "vocab_size": 20},
        {"task": "facts", "family": "masked_diffusion", "vocab_size": 20},
    ],
    ids=str,
)
def test_candidates_are_the_answers_of_the_same_seed_split_and_direction_each_once(overrides):
    settings = small_settings(**overrides)
    dataset = dataset_of(settings)
    length = 2 if settings.task == "chain_related" else settings.entity_length
    choices = Choices.of(dataset, SPLITS.values(), length, CPU)
    for place, seed in enumerate(dataset.seeds):
        rows = [
            row
            for split in ("train", "unseen")
            for row in dataset.table.filter(seed=seed, split=split).iter_rows(named=True)
        ]
        assert choices.valid.shape[1] == len(rows)
        for query, row in enumerate(rows):
            valid = choices.valid[place, query]
            found = [tuple(one) for one in choices.answers[place, query][valid].tolist()]
            assert sorted(found) == candidates_by_hand(dataset.table, row, length)
            assert found[choices.right[place, query]] == tuple(row["tokens"][-length:])


def choice_of(log_p: list[float], right: int) -> dict[str, float]:
    """Measure one query, with a fifth candidate that is not one of its own."""
    padded = torch.tensor([[[*log_p, 0.0]]])
    valid = torch.tensor([[[True] * len(log_p) + [False]]])
    choices = Choices(torch.zeros(*valid.shape, 1), valid, torch.tensor([[right]]))
    return dict(zip(MEASURES, choice_measures(padded, choices)[:, 0, 0].tolist(), strict=True))


@pytest.mark.parametrize(
    ("p", "accuracy", "rank"),
    [
        ([0.4, 0.3, 0.1], 1.0, 1.0),
        ([0.2, 0.3, 0.1], 0.0, 0.5),
        ([0.1, 0.3, 0.2], 0.0, 0.0),
        ([0.3, 0.3, 0.1], 0.5, 0.75),
        ([0.2, 0.2, 0.2], 1 / 3, 0.5),
    ],
)
def test_the_first_of_three_candidates_is_measured_and_ties_are_shared(p, accuracy, rank):
    found = choice_of([math.log(one) for one in p], 0)
    assert found["nll_choice"] == pytest.approx(-math.log(p[0] / sum(p)))
    assert found["nll_set"] == pytest.approx(-math.log(sum(p)))
    assert (found["accuracy_choice"], found["rank_choice"]) == pytest.approx((accuracy, rank))


def test_a_model_that_diverged_has_no_choice():
    assert all(math.isnan(value) for value in choice_of([math.nan, 0.1, 0.2], 0).values())


@pytest.mark.parametrize(
    "overrides",
    [
        {"vocab_size": 40},
        {"entity_length": 2},
        {"entity_length": 2, "family": "masked_diffusion"},
        {"task": "chain", "family": "one_layer", "learning_rate": 0.5, "learning_rate_z": 0.5},
        {"family": "bilinear", "learning_rate": 2.0},
    ],
    ids=str,
)
def test_the_loss_of_an_answer_is_that_of_the_set_and_of_the_choice_in_it(overrides):
    settings = small_settings(epochs=4, eval_every=1, **overrides)
    metrics = trained(settings)["metrics"]
    apart = metrics["nll_word"] - metrics["nll_set"] - metrics["nll_choice"]
    assert apart.abs().max() < 1e-5
    alone = metrics.filter(pl.col("candidates") == 1)
    assert alone["rank_choice"].null_count() == alone.height


def test_every_candidate_of_several_tokens_is_read_by_itself():
    settings = small_settings(entity_length=2, vocab_size=20)
    dataset = dataset_of(settings)
    model = gpt.build_model(settings, dataset, CPU)
    with torch.no_grad():
        model.wte.mul_(30)
        learner = Learner(settings, dataset, CPU, model, lambda s: model(s[:, :, :-1], 2))
        sentences = learner.sentences(pl.col("split") == "unseen")
        choices = Choices.of(dataset, [SPLITS["unseen"]], 2, CPU)
        found = learner.choose(sentences, choices)
        seed, query = 1, 2
        log_p = []
        for answer in choices.answers[seed, query][choices.valid[seed, query]]:
            asked = sentences.clone()
            asked[seed, query, -2:] = answer
            log_p.append(-learner.nll(asked)[seed, query].item())
    expected = choice_of(log_p, choices.right[seed, query].item())
    assert found[:, seed, query].tolist() == pytest.approx(list(expected.values()), abs=1e-5)


def test_candidates_of_several_tokens_are_read_at_a_few_evaluations():
    settings = small_settings(entity_length=2, epochs=20, eval_every=1)
    metrics = trained(settings)["metrics"]
    read = metrics.drop_nulls("nll_choice")["epoch"].unique().sort().to_list()
    assert read == [0, 1, 2, 4, 8, 16, 20]


def test_a_model_that_repeats_the_prompt_is_an_echo():
    settings = small_settings(vocab_size=20)
    dataset = dataset_of(settings)

    def repeat(sentences: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(sentences[:, :, :1], 22).float()

    learner = Learner(settings, dataset, CPU, None, repeat)
    sentences = learner.sentences(pl.col("split") == "train")
    found = learner.measure(sentences, Choices.of(dataset, [SPLITS["train"]], 1, CPU))
    assert found[3].eq(1).all()
    assert found[2].eq(0).all()

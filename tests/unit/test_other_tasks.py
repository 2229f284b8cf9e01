"""The sentences of the chain, in-context and one-directional tasks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.sweep import canonical
from reversal_curse.tasks.dataset import generate_dataset


def generate(task: str, **size) -> pl.DataFrame:
    settings = {**Settings().model_dump(), "task": task, "seeds": 2, **size}
    return generate_dataset(canonical(settings))


def of_seed(frame: pl.DataFrame, seed: int, **values) -> list[list[int]]:
    conditions = [pl.col(name) == value for name, value in values.items()]
    return frame.filter(pl.col("seed") == seed, *conditions)["tokens"].to_list()


# vocab_size, entity_length, triples, training sentences, unseen sentences.
CHAIN_COUNTS = [
    (20, 1, 5, 14, 1),
    (50, 1, 12, 32, 4),
    (200, 1, 50, 135, 15),
    (800, 1, 200, 540, 60),
    (2000, 1, 500, 1350, 150),
    (800, 2, 400, 1080, 120),
    (800, 3, 150, 400, 50),
]


@pytest.mark.parametrize(("vocab_size", "length", "triples", "train", "unseen"), CHAIN_COUNTS)
def test_chain_counts_are_those_of_the_official_generator(
    vocab_size, length, triples, train, unseen
):
    frame = generate("chain", vocab_size=vocab_size, entity_length=length)
    for seed in (0, 1):
        assert len(of_seed(frame, seed, split="train")) == train
        assert len(of_seed(frame, seed, split="unseen")) == unseen
        assert frame.filter(pl.col("seed") == seed)["pair"].n_unique() == triples


def test_chain_sentences_agree_and_hide_only_the_leap():
    frame = generate("chain", vocab_size=80)
    for (_, _, pair_split), fact in frame.group_by("seed", "pair", "pair_split"):
        by_direction = {row["direction"]: row for row in fact.iter_rows(named=True)}
        (a, step, b), (b_again, step_again, c), (a_again, leap, c_again) = (
            by_direction[name]["tokens"] for name in ("a_to_b", "b_to_c", "a_to_c")
        )
        assert (a, b, c) == (a_again, b_again, c_again)
        assert (step, step_again, leap) == (0, 0, 1)
        hidden = [name for name, row in by_direction.items() if row["split"] == "unseen"]
        assert hidden == (["a_to_c"] if pair_split == "validation" else [])


def test_in_context_counts_are_those_of_the_paper():
    frame = generate("in_context", vocab_size=400)
    for seed in (0, 1):
        assert len(of_seed(frame, seed, split="train")) == 700
        assert len(of_seed(frame, seed, split="unseen")) == 300


def test_in_context_sentences_hold_their_answer():
    frame = generate("in_context", vocab_size=80)
    sentences = {tuple(tokens) for tokens in of_seed(frame, 0)}
    assert len(sentences) == 20 * 10
    for x, forward, y, same, y_again, backward, x_again in sentences:
        assert (forward, same, backward) == (0, 2, 1)
        assert (x, y) == (x_again, y_again)
    assert not {s[0] for s in sentences} & {s[2] for s in sentences}


@pytest.mark.parametrize("train_facts", [10, 200, 500])
def test_chain_related_counts_are_those_of_the_paper(train_facts):
    frame = generate("chain_related", vocab_size=800, train_facts=train_facts)
    for seed in (0, 1):
        assert len(of_seed(frame, seed, split="train")) == 3 * train_facts + 2 * 50
        assert len(of_seed(frame, seed, split="unseen")) == 50


def test_chain_related_entities_share_their_index_and_their_class():
    frame = generate("chain_related", vocab_size=80, train_facts=20)
    classes = {}
    for row in frame.filter(pl.col("seed") == 0).iter_rows(named=True):
        first, i, relation, last, i_again = row["tokens"]
        assert i == i_again
        assert relation == (1 if row["direction"] == "a_to_c" else 0)
        classes.setdefault(row["direction"], set()).add((first, last))
    assert all(len(pairs) == 1 for pairs in classes.values())
    assert frame.filter(pl.col("seed") == 0)["pair"].n_unique() == 25


@pytest.mark.parametrize("distance", [1, 3])
def test_facts_are_trained_in_one_order_only(distance):
    frame = generate("facts", vocab_size=40, distance=distance)
    forward, backward = (of_seed(frame, 0, direction=d) for d in ("forward", "backward"))
    assert len(forward) == len(backward) == 10
    assert set(frame.filter(pl.col("split") == "train")["direction"]) == {"forward"}
    assert set(frame.filter(pl.col("split") == "unseen")["direction"]) == {"backward"}
    for ahead, back in zip(forward, backward, strict=True):
        assert len(ahead) == distance + 2
        assert ahead[1:-1] == back[1:-1] == list(range(distance))
        assert (ahead[0], ahead[-1]) == (back[-1], back[0])


@pytest.mark.parametrize("task", TASKS)
def test_every_task_stays_within_its_vocabulary_and_is_the_same_for_a_seed(task):
    settings = canonical(
        {**Settings().model_dump(), "task": task, "vocab_size": 80, "train_facts": 9}
    )
    size = {"vocab_size": 80, "train_facts": 9}
    few, many = generate(task, **size), generate(task, **{**size, "seeds": 3})
    assert few.equals(many.filter(pl.col("seed") < 2))
    tokens = np.stack(few["tokens"].to_list())
    assert tokens.min() == 0
    assert tokens.max() < 80 + TASKS[task].relations(settings)
    assert {0, 1} == set(few["seed"])
    for seed in (0, 1):
        train, unseen = (
            {tuple(words) for words in of_seed(few, seed, split=split)}
            for split in ("train", "unseen")
        )
        assert not train & unseen
        assert unseen


@pytest.mark.parametrize("task", TASKS)
def test_the_smallest_vocabulary_of_a_task_works(task):
    smallest = TASKS[task].min_vocab_size
    frame = generate(task, vocab_size=smallest, train_facts=1)
    counts = frame.filter(pl.col("seed") == 0).group_by("split").len()
    assert dict(counts.iter_rows()).keys() == {"train", "unseen"}

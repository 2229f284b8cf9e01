"""The sentences of the reversal task."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from reversal_curse.settings import Settings
from reversal_curse.tasks.dataset import Dataset, generate_dataset


def generate(vocab_size: int, entity_length: int, seeds: int) -> pl.DataFrame:
    size = {"vocab_size": vocab_size, "entity_length": entity_length, "seeds": seeds}
    return generate_dataset(Settings(task="reversal", **size))


# vocab_size, entity_length, pairs, training sentences, unseen sentences: the official generator's.
COUNTS = [
    (20, 1, 5, 9, 1),
    (50, 1, 12, 20, 4),
    (200, 1, 50, 85, 15),
    (800, 1, 200, 340, 60),
    (2000, 1, 500, 850, 150),
    (800, 2, 400, 680, 120),
    (800, 3, 150, 250, 50),
]


@pytest.mark.parametrize(("vocab_size", "entity_length", "pairs", "train", "unseen"), COUNTS)
def test_sentence_counts_are_those_of_the_official_generator(
    vocab_size, entity_length, pairs, train, unseen
):
    frame = generate(vocab_size, entity_length, seeds=2)
    for seed in (0, 1):
        one = frame.filter(pl.col("seed") == seed)
        assert one["pair"].n_unique() == pairs
        assert one.filter(pl.col("split") == "train").height == train
        assert one.filter(pl.col("split") == "unseen").height == unseen


@pytest.mark.parametrize("entity_length", [1, 2, 3])
def test_entities_are_words_over_two_disjoint_alphabets(entity_length):
    vocab_size = 40
    frame = generate(vocab_size, entity_length, seeds=1)
    tokens = np.stack(frame["tokens"].to_list())
    first, relation, last = np.split(tokens, [entity_length, entity_length + 1], axis=1)
    forward = (frame["direction"] == "forward").to_numpy()
    assert (relation[forward] == 0).all()
    assert (relation[~forward] == 1).all()
    a = np.concatenate([first[forward], last[~forward]])
    b = np.concatenate([last[forward], first[~forward]])
    assert not set(a.flat) & set(b.flat)
    assert len(set(a.flat)) <= vocab_size // 4
    assert min(a.min(), b.min()) >= 2
    assert max(a.max(), b.max()) < vocab_size + 2


@pytest.mark.parametrize("entity_length", [1, 2])
def test_pairs_are_a_bijection(entity_length):
    frame = generate(40, entity_length, seeds=1)
    partners = {}
    for row in frame.iter_rows(named=True):
        a, b = row["tokens"][:entity_length], row["tokens"][-entity_length:]
        pair = (tuple(a), tuple(b)) if row["direction"] == "forward" else (tuple(b), tuple(a))
        assert partners.setdefault(row["pair"], pair) == pair
    assert len({a for a, _ in partners.values()}) == len(partners)
    assert len({b for _, b in partners.values()}) == len(partners)


def test_train_pairs_show_both_directions_and_validation_pairs_hide_one():
    frame = generate(80, 1, seeds=3)
    shown = frame.group_by("seed", "pair", "pair_split").agg(
        pl.col("direction").filter(pl.col("split") == "train").sort().alias("shown"),
        pl.col("direction").filter(pl.col("split") == "unseen").alias("hidden"),
    )
    for row in shown.iter_rows(named=True):
        if row["pair_split"] == "train":
            assert row["shown"] == ["backward", "forward"]
            assert row["hidden"] == []
        else:
            assert len(row["shown"]) == len(row["hidden"]) == 1
            assert row["shown"] != row["hidden"]


def test_no_unseen_sentence_is_in_the_training_set():
    frame = generate(200, 2, seeds=2)
    for seed in (0, 1):
        one = frame.filter(pl.col("seed") == seed)
        train, unseen = (
            {tuple(t) for t in one.filter(pl.col("split") == split)["tokens"].to_list()}
            for split in ("train", "unseen")
        )
        assert not train & unseen


def test_the_coin_falls_on_both_sides():
    unseen = generate(800, 1, seeds=10).filter(pl.col("split") == "unseen")
    forward = (unseen["direction"] == "forward").mean()
    assert abs(forward - 0.5) < 4 * 0.5 / np.sqrt(unseen.height)


def test_a_seed_has_the_same_sentences_whatever_other_seeds_there_are():
    few, many = (generate(80, 1, seeds=n) for n in (2, 5))
    assert few.equals(many.filter(pl.col("seed") < 2))
    assert not few.filter(pl.col("seed") == 0)["tokens"].equals(
        few.filter(pl.col("seed") == 1)["tokens"]
    )


def test_the_smallest_vocabulary_still_holds_something_out():
    frame = generate(8, 1, seeds=1)
    assert frame.filter(pl.col("split") == "unseen").height == 1
    assert frame.filter(pl.col("split") == "train").height == 3


def test_stacked_tokens_are_the_table(small_settings, make_dataset):
    dataset: Dataset = make_dataset(small_settings())
    tokens = dataset.split("train")
    assert tokens.shape == (3, 9, 3)
    one = dataset.table.filter(pl.col("seed") == 1, pl.col("split") == "train")
    assert tokens[1].tolist() == one["tokens"].to_list()

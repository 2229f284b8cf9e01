"""The sentences of the tasks."""

import numpy as np
import polars as pl
import pytest

from reversal_curse.config.settings import DEFAULTS, settle
from reversal_curse.tables.dataset import generate_dataset
from reversal_curse.tasks import TASKS
from small_runs import dataset_of, small_settings


def generate(task: str, **size) -> pl.DataFrame:
    return generate_dataset(settle({**DEFAULTS, "task": task, "seeds": 2, **size}))


def of_seed(frame: pl.DataFrame, seed: int, **values) -> list[list[int]]:
    return frame.filter(seed=seed, **values)["tokens"].to_list()


# vocab_size, entity_length, facts; training and unseen sentences of reversal, and of the chain.
WORDS = [
    (20, 1, 5, (9, 1), (14, 1)),
    (50, 1, 12, (20, 4), (32, 4)),
    (200, 1, 50, (85, 15), (135, 15)),
    (800, 1, 200, (340, 60), (540, 60)),
    (2000, 1, 500, (850, 150), (1350, 150)),
    (800, 2, 400, (680, 120), (1080, 120)),
    (800, 3, 150, (250, 50), (400, 50)),
]
COUNTS = [
    *(("reversal", {"vocab_size": v, "entity_length": k}, f, c) for v, k, f, c, _ in WORDS),
    *(("chain", {"vocab_size": v, "entity_length": k}, f, c) for v, k, f, _, c in WORDS),
    *(("chain_related", {"train_facts": n}, n + 50, (3 * n + 100, 50)) for n in (10, 200, 500)),
    ("in_context", {"vocab_size": 400}, 1000, (700, 300)),
    ("facts", {"vocab_size": 200}, 50, (50, 50)),
    ("facts", {"vocab_size": 200, "exposure": True}, 150, (150, 50)),
    ("reversal", {"vocab_size": 8}, 2, (3, 1)),
]


@pytest.mark.parametrize(("task", "size", "facts", "sentences"), COUNTS)
def test_counts_are_those_of_the_papers_and_of_the_official_generator(task, size, facts, sentences):
    frame = generate(task, **size)
    for seed in (0, 1):
        assert tuple(len(of_seed(frame, seed, split=s)) for s in ("train", "unseen")) == sentences
        assert frame.filter(seed=seed)["pair"].n_unique() == facts


@pytest.mark.parametrize("task", TASKS)
def test_every_task_stays_within_its_vocabulary_and_is_the_same_for_a_seed(task):
    size = {"vocab_size": 80, "train_facts": 9}
    few, many = generate(task, **size), generate(task, **{**size, "seeds": 3})
    assert few.equals(many.filter(pl.col("seed") < 2))
    tokens = np.stack(few["tokens"].to_list())
    assert tokens.min() == 0
    assert tokens.max() < TASKS[task].vocabulary(settle({**DEFAULTS, "task": task, **size}))
    assert {0, 1} == set(few["seed"])
    assert of_seed(few, 0) != of_seed(few, 1)
    for seed in (0, 1):
        splits = (of_seed(few, seed, split=split) for split in ("train", "unseen"))
        train, unseen = (set(map(tuple, sentences)) for sentences in splits)
        assert unseen
        assert not train & unseen


@pytest.mark.parametrize("task", TASKS)
def test_the_smallest_vocabulary_of_a_task_still_holds_something_out(task):
    frame = generate(task, vocab_size=TASKS[task].min_vocab_size, train_facts=1)
    assert {"train", "unseen"} <= set(frame.filter(seed=0)["split"])


@pytest.mark.parametrize("length", [1, 2, 3])
def test_pairs_are_a_bijection_between_words_over_two_disjoint_alphabets(length):
    frame = generate("reversal", vocab_size=40, entity_length=length, seeds=1)
    partners = {}
    for row in frame.iter_rows(named=True):
        forward, tokens = row["direction"] == "forward", tuple(row["tokens"])
        assert tokens[length] == (0 if forward else 1)
        words = tokens[:length], tokens[length + 1 :]
        pair = words if forward else words[::-1]
        assert partners.setdefault(row["pair"], pair) == pair
    words = [{pair[side] for pair in partners.values()} for side in (0, 1)]
    assert [len(side) for side in words] == [len(partners)] * 2
    a, b = ({token for word in side for token in word} for side in words)
    assert not a & b
    assert len(a) <= 10
    assert min(a | b) >= 2


def test_train_pairs_show_both_directions_and_validation_pairs_hide_one():
    frame = generate("reversal", vocab_size=80, seeds=3)
    for (_, _, pair_split), fact in frame.group_by("seed", "pair", "pair_split"):
        assert sorted(fact["direction"]) == ["backward", "forward"]
        assert fact.filter(split="unseen").height == (pair_split == "validation")


@pytest.mark.parametrize(("vocab_size", "least"), [(20, 0), (80, 3), (400, 15)])
def test_each_direction_is_hidden_for_half_of_the_validation_pairs(vocab_size, least):
    hidden = generate("reversal", vocab_size=vocab_size, seeds=10).filter(split="unseen")
    forward = (pl.col("direction") == "forward").sum()
    counts = hidden.group_by("seed").agg(least=pl.min_horizontal(forward, pl.len() - forward))
    assert set(counts["least"]) == {least}


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


def test_in_context_sentences_hold_their_answer():
    sentences = set(map(tuple, of_seed(generate("in_context", vocab_size=80), 0)))
    assert len(sentences) == 20 * 10
    for x, forward, y, same, y_again, backward, x_again in sentences:
        assert (forward, same, backward) == (0, 2, 1)
        assert (x, y) == (x_again, y_again)
    assert not {s[0] for s in sentences} & {s[2] for s in sentences}


def test_chain_related_entities_share_their_index_and_their_class():
    frame = generate("chain_related", vocab_size=80, train_facts=20)
    classes = {}
    for row in frame.filter(seed=0).iter_rows(named=True):
        first, i, relation, last, i_again = row["tokens"]
        assert i == i_again
        assert relation == (1 if row["direction"] == "a_to_c" else 0)
        classes.setdefault(row["direction"], set()).add((first, last))
    assert all(len(pairs) == 1 for pairs in classes.values())


@pytest.mark.parametrize("distance", [1, 3])
def test_facts_are_trained_in_one_order_only(distance):
    frame = generate("facts", vocab_size=40, distance=distance)
    orders = {("train", "forward"), ("unseen", "backward")}
    assert set(frame.select("split", "direction").rows()) == orders
    both = (of_seed(frame, 0, direction=direction) for direction in ("forward", "backward"))
    for ahead, back in zip(*both, strict=True):
        assert len(ahead) == distance + 2
        assert ahead[1:-1] == back[1:-1] == list(range(distance))
        assert (ahead[0], ahead[-1]) == (back[-1], back[0])


@pytest.mark.parametrize("distance", [1, 3])
def test_exposure_trains_every_entity_in_every_slot_and_moves_no_fact(distance):
    given = {"vocab_size": 40, "distance": distance}
    bare, exposed = generate("facts", **given), generate("facts", **given, exposure=True)

    def entities(sentences: list[list[int]]) -> list[list[int]]:
        """Return the entities of the first and of the last slot."""
        return [[s[place] for s in sentences] for place in (0, -1)]

    a, b = entities(of_seed(exposed, 0, direction="forward"))
    shifts = np.subtract([a, b], entities(of_seed(bare, 0, direction="forward")))
    assert set(shifts.flat) == {distance}, "the same entities, after twice as many relation tokens"
    others, a_again = entities(of_seed(exposed, 0, direction="c_to_a"))
    b_again, (d, *same) = entities(of_seed(exposed, 0, direction="b_to_d"))
    assert (a, b) == (a_again, b_again)
    assert len({*a, *b, *others, d}) == 31
    assert {d} == set(same)
    relations = {tuple(s[1:-1]) for s in of_seed(exposed, 0, direction="b_to_d")}
    assert relations == {tuple(range(distance, 2 * distance))}
    assert set(exposed.filter(split="unseen")["direction"]) == {"backward"}


def test_stacked_tokens_are_those_of_the_table():
    dataset = dataset_of(small_settings())
    tokens = dataset.split("train")
    assert tokens.shape == (3, 9, 3)
    assert tokens[1].tolist() == of_seed(dataset.table, 1, split="train")

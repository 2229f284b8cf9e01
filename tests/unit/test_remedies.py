"""Remedies: sentences that they add, padding, objectives, optimizers, and the bench of them all."""

from functools import cache
from itertools import permutations

import polars as pl
import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as runs
from hypothesis import strategies as st

from reversal_curse.config.grid import untrainable
from reversal_curse.config.settings import choices
from reversal_curse.models.random_streams import seed_generators
from reversal_curse.models.transformer import Transformer
from reversal_curse.tables.remedies import bench
from reversal_curse.tasks import TASKS
from reversal_curse.training import gpt, optimizers
from reversal_curse.training.masking import masked_tokens
from small_runs import CPU, dataset_of, small_settings

from .synthetic import CHOICE, gathered, point

SYMBOLS = {
    "inverse": {"r": 0, "r'": 1, "s": 2, "=": 3, "!": 4},
    "two_hop": {"r": 0, "t": 1, "=": 2},
}


dataset = cache(dataset_of)


def tokens_of(settings, *conditions: pl.Expr, **values) -> list[list[int]]:
    """Return sentences without what fills them up."""
    pad = TASKS[settings.task].pad(settings)
    table = dataset(settings).table.filter(*conditions, **values)
    return [[token for token in tokens if token != pad] for tokens in table["tokens"]]


def spelt(text: str, task: str, words: dict[str, list[int]]) -> list[list[int]]:
    """Spell `A = A; B r a` in tokens; a small letter is the word's tokens in reverse order."""
    parts = {name: [token] for name, token in SYMBOLS[task].items()} | words
    parts |= {name.lower(): word[::-1] for name, word in words.items()}
    sentences = text.split("; ") if text else []
    return [[t for part in one.split() for t in parts[part]] for one in sentences]


REMEDIES = [  # what they add for every fact, and for one that is trained in both orders
    ("inverse", {"bridge": "none"}, "", ""),
    ("inverse", {"bridge": "subjects"}, "A = A", ""),
    ("inverse", {"bridge": "objects"}, "B = B; C = C", ""),
    ("inverse", {"bridge": "names"}, "A = A; B = B; C = C", ""),
    ("inverse", {"bridge": "composed"}, "A r r' A", ""),
    ("inverse", {"bridge": "full"}, "B = B; C = C; A r r' A", ""),
    ("inverse", {"reversal": "entity"}, "B r A; C s A", "; A r' B"),
    ("inverse", {"reversal": "token"}, "b r a; c s a", "; a r' b"),
    ("inverse", {"reversal": "entity", "reversal_marker": True}, "! B r A; ! C s A", "; ! A r' B"),
    ("inverse", {"reversal": "token", "bridge": "subjects"}, "A = A; b r a; c s a", "; a r' b"),
    ("two_hop", {"bridge": "objects"}, "B = B", ""),
]


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize(("task", "remedy", "every", "two_way"), REMEDIES)
def test_a_remedy_adds_the_sentences_of_its_source(task, remedy, every, two_way, length):
    size = {"task": task, "vocab_size": 16, "seeds": 1, "entity_length": length}
    bare, roles = small_settings(**size), TASKS[task].roles.items()
    table = dataset_of(bare).table
    words = [
        [tokens[place(length)] for tokens in table.filter(direction=direction)["tokens"].to_list()]
        for _, (direction, place) in roles
    ]
    facts = [dict(zip("ABC", fact, strict=True)) for fact in zip(*words, strict=True)]
    expected = [
        sentence
        for fact, entities in enumerate(facts)
        for sentence in spelt(every + (two_way if fact < len(facts) / 2 else ""), task, entities)
    ]
    assert tokens_of(small_settings(**size, **remedy), direction="added") == expected


def test_permuted_sentences_keep_their_parts_in_any_order():
    size = {"task": "inverse", "vocab_size": 16, "entity_length": 2}
    ordered, permuted = (
        tokens_of(small_settings(**size, reversal=name), direction="added")
        for name in ("entity", "permutation")
    )
    orders = set()
    for (b0, b1, relation, a0, a1), turned in zip(ordered, permuted, strict=True):
        parts = [a0, a1], [b0, b1], [relation]
        fits = {o for o in permutations(range(3)) if [t for i in o for t in parts[i]] == turned}
        assert fits
        orders |= fits
    assert len(orders) == 6


SETTINGS = {
    "task": st.sampled_from(["inverse", "two_hop", "relational"]),
    "vocab_size": st.sampled_from([20, 32, 320]),
    "entity_length": st.integers(1, 3),
    "two_way": st.sampled_from([0.0, 0.3, 0.5, 0.99]),
    "bridge": st.sampled_from(choices("bridge")),
    "forward_copies": st.integers(1, 3),
    "reversal": st.sampled_from(choices("reversal")),
    "reversal_share": st.sampled_from([0.1, 0.5, 1.0]),
    "reversal_marker": st.booleans(),
}


@given(st.fixed_dictionaries(SETTINGS))
@runs(max_examples=60, deadline=None, derandomize=True)
def test_remedies_add_what_is_counted_and_neither_move_facts_nor_tell_answers(given):
    settings = small_settings(seeds=1, **given)
    assume(untrainable(settings) is None)
    task, rows = TASKS[settings.task], dataset(settings).table
    size = ("task", "vocab_size", "entity_length", "two_way")
    bare = tokens_of(small_settings(seeds=1, **{name: given[name] for name in size}))
    facts = tokens_of(settings, pl.col("direction") != "added")
    assert list(dict.fromkeys(map(tuple, facts))) == list(map(tuple, bare))
    train, unseen = (tokens_of(settings, split=split) for split in ("train", "unseen"))
    assert len(train) == task.sentences(settings)
    assert {len(tokens) for tokens in rows["tokens"]} == {task.length(settings)}
    assert unseen
    assert not set(map(tuple, train)) & set(map(tuple, unseen))
    if settings.task == "inverse":
        shown = rows.filter(direction="forward").group_by("pair", "pair_split").len()
        assert set(shown["len"]) == {settings.forward_copies}
        both = min(round(settings.two_way * shown.height), shown.height - 1)
        for kind, count in (("train", both), ("validation", shown.height - both)):
            of_kind = shown.filter(pair_split=kind)["pair"].to_list()
            assert len(of_kind) == count
            if settings.reversal != "none" and settings.bridge == "none":
                turned = rows.filter(pl.col("pair").is_in(of_kind), direction="added")["pair"]
                assert turned.n_unique() == round(settings.reversal_share * count)


def test_two_hops_of_validation_triples_alone_are_held_out():
    table = dataset_of(small_settings(task="two_hop", vocab_size=80, seeds=1)).table
    for (_, split), triple in table.group_by("pair", "pair_split"):
        told = dict(triple.select("direction", "tokens").iter_rows())
        (_, a, _, b), (*_, c) = told["first"], told["second"]
        assert told == {"first": [3, a, 0, b], "second": [3, b, 1, c], "two_hop": [a, 0, 1, c]}
        hidden = triple.filter(split="unseen")["direction"].to_list()
        assert hidden == (["two_hop"] if split == "validation" else [])


def test_parents_of_half_of_the_families_are_held_out_and_follow_from_children():
    table = dataset_of(small_settings(task="relational", vocab_size=50, seeds=1)).table
    by_family = table.group_by(pl.col("pair") // 36, maintain_order=True)
    hidden = by_family.agg(pl.len(), (pl.col("split") == "unseen").sum())
    assert hidden.rows() == [(0, 36, 0), (1, 36, 0), (2, 36, 0), (3, 36, 12), (4, 36, 12)]
    told = {
        split: [(x, name, y) for name, (x, _, y) in rows.select("direction", "tokens").iter_rows()]
        for (split,), rows in table.group_by("split")
    }
    known = set(told["train"])
    assert len({(x, name) for x, name, _ in known}) == len(known), "each question has one answer"
    wives = {x for x, name, _ in known if name == "husband"}
    for child, name, parent in told["unseen"]:
        assert name == ("mother" if parent in wives else "father")
        assert {(parent, "son", child), (parent, "daughter", child)} & known


ALIGNED = [*({"pos_encoding": name} for name in choices("pos_encoding")), {"alignment": "right"}]


@pytest.mark.parametrize("overrides", ALIGNED, ids=str)
def test_a_sentence_that_is_filled_up_gives_the_same_logits(overrides):
    """Right-aligned, they are those of the sentence from the second position on."""
    settings = small_settings(task="inverse", bridge="full", **overrides)
    pad, generator = 9, torch.manual_seed(0)
    model = Transformer(settings, 10, 5, seed_generators([0, 1], "init"), True, pad)
    with torch.no_grad():  # larger weights, so that every part matters
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    tokens = torch.randint(pad, (2, 6, 4), generator=generator)
    filled = torch.nn.functional.pad(tokens, (1, 0), value=pad)
    found = [model(filled, 4), model(filled, torch.arange(1, 5).expand(2, 6, -1))]
    with torch.no_grad():
        model.wte[:, pad] += 1.0
    found.append(model(filled, 4))
    plain = model(tokens, 4)
    if "alignment" in overrides:
        assert not torch.allclose(plain, found[0], atol=1e-3)
        model.wpe = torch.nn.Parameter(model.wpe[:, 1:])
        plain = model(tokens, 4)
    for logits in found:
        torch.testing.assert_close(logits, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("loss_on", choices("loss_on"))
def test_nothing_is_learned_from_what_fills_a_sentence_up(loss_on):
    still = {"weight_decay": 0.0, "dropout": 0.0}
    settings = small_settings(task="two_hop", loss_on=loss_on, **still)
    training = gpt.start(settings, dataset_of(settings), CPU)
    before = training.learner.model.embeddings().clone()
    training.epoch()
    moved = (training.learner.model.embeddings() != before).any(-1)
    assert not moved[:, TASKS["two_hop"].pad(settings)].any()
    assert moved[:, [0, 1]].all()


@pytest.mark.parametrize("shape", [(6, 6), (4, 12), (12, 4)])
@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_steps_are_those_of_torch_for_each_seed(optimizer, shape):
    pace = {"momentum": 0.9, "weight_decay": 0.0 if optimizer == "sgd" else 0.1}
    settings = small_settings(optimizer=optimizer, learning_rate=0.1, **pace)
    if optimizer == "sgd":
        make, more, near = torch.optim.SGD, {}, 1e-6
    else:  # torch's computes in bfloat16
        make, more, near = torch.optim.Muon, {"adjust_lr_fn": "match_rms_adamw"}, 0.03
    generator = torch.manual_seed(0)
    start = torch.randn(2, *shape, generator=generator)
    ours, theirs = start.clone(), [torch.nn.Parameter(one.clone()) for one in start]
    update, _ = optimizers.start(settings, {"blocks.0.fc.weight": ours})
    each = [make([one], lr=0.1, nesterov=True, **pace, **more) for one in theirs]
    for _ in range(5):
        gradients = torch.randn(ours.shape, generator=generator)
        update([gradients])
        for matrix, gradient, stepping in zip(theirs, gradients, each, strict=True):
            matrix.grad = gradient
            stepping.step()
    expected = torch.stack([one.detach() for one in theirs])
    assert (ours - expected).norm() < near * (expected - start).norm()


def test_weight_decay_of_sgd_is_decoupled_and_muon_takes_the_matrices_of_blocks_alone():
    ours = torch.ones(1, 3, 3)
    settings = small_settings(optimizer="sgd", weight_decay=0.5, learning_rate=0.1)
    optimizers.start(settings, {"x": ours})[0]([torch.zeros_like(ours)])
    torch.testing.assert_close(ours, torch.full_like(ours, 0.95))
    settings = small_settings(optimizer="muon", layers=1)
    state = gpt.start(settings, dataset_of(settings), CPU).tensors
    muon, adamw = ({n for n in state if n.startswith(s)} for s in ("muon.mean", "adamw.first"))
    parts = ("attention.qkv", "attention.proj", "fc", "proj")
    assert muon == {f"muon.mean.blocks.0.{part}.weight" for part in parts}
    assert "adamw.first.head" in adamw
    assert not {name.replace("muon.mean", "adamw.first") for name in muon} & adamw


@pytest.mark.parametrize(
    ("sentence", "together"),
    [([7, 7, 0, 7, 7], [True, False, False, True]), ([0, 7, 7, 7, 7], [False, True, False, True])],
)
def test_a_fixed_rate_masks_15_percent_and_entities_whole_where_they_stand(sentence, together):
    objective = {"copy_first": "masked", "mask_rate": "fixed", "mask_entities": True}
    settings = small_settings(task="inverse", entity_length=2, **objective)
    tokens = torch.tensor(sentence).expand(2, 20_000, -1)
    masked, rate = masked_tokens(settings, tokens, seed_generators([0, 1], "copy"))
    assert (rate == 0.15).all()
    assert masked.float().mean((0, 1)).tolist() == pytest.approx([0.15] * 5, abs=0.01)
    shared = [bool((masked[..., i] == masked[..., i + 1]).all()) for i in range(4)]
    assert shared == together


@pytest.mark.parametrize("copies", ["masked", "random"])
def test_a_copy_tells_nothing_of_what_it_hides_and_nothing_at_all_when_asked(copies):
    settings = small_settings(vocab_size=200, copy_first=copies, dropout=0.0)
    training = gpt.start(settings, dataset_of(settings), CPU)
    read: list[torch.Tensor] = []
    training.learner.model.register_forward_pre_hook(lambda model, inputs: read.append(inputs[0]))
    training.epoch()
    copied, _, sentences = torch.cat(read, 1).split([2, 1, 2], -1)
    hidden = copied[copied != sentences]
    assert len(hidden) / copied.numel() == pytest.approx(0.5, abs=0.05)
    mask = TASKS[settings.task].vocabulary(settings)
    if copies == "masked":
        assert set(hidden.tolist()) == {mask}
    else:
        assert len(set(hidden.tolist())) > mask / 2
        assert hidden.max() < mask
    read.clear()
    asked = training.learner.sentences(pl.col("split") == "unseen")
    training.learner.ask(asked)
    copied, sentences = read[0].split([3, 2], -1)
    assert torch.equal(sentences, asked[..., :2])
    assert (copied == copied[0, 0]).all()


def test_the_bench_compares_a_remedy_with_the_same_model_and_seed_without_it():
    inverse = {"task": "inverse", "vocab_size": 16, "seeds": 2}
    bare, full = {"pos_encoding": "none"}, {"bridge": "full"}
    muon = {"optimizer": "muon", "learning_rate": 0.5}
    kinds = [  # a grid point, its kind, the place of the one that it is compared with, sentences
        (inverse, "none", 1, 10),
        (inverse | bare, "none", 2, 10),
        (inverse | full, "data", 1, 22),
        (inverse | bare | full | muon, "data + optimisation", 2, 22),
        (inverse | {"family": "masked_diffusion"}, "objective", 1, 10),
        (inverse | {"vocab_size": 20} | full, "data", None, 27),
        ({"family": "one_layer", "seeds": 2}, "none", 7, 340),
        ({"family": "one_layer", "seeds": 2, "factorised": True}, "architecture", 7, 340),
    ]
    rows = [
        {**point(**given), "seed": seed, "epoch": 9, "split": split, "nll_token": 1.0}
        | {"nll_word": 1.0, "chance_vocab": 3.0, "chance_class": 2.0}
        | CHOICE
        | {"accuracy": place + seed / 10 + (split == "forward") / 2}
        for place, (given, *_) in enumerate(kinds, start=1)
        for seed in (0, 1)
        for split in ("train", "unseen", "forward")
    ]
    found = bench(gathered("metrics", rows)).rows_by_key("seed", named=True)
    for seed, points in found.items():
        for place, (row, (_, kind, none, size)) in enumerate(zip(points, kinds, strict=True), 1):
            own, other = place + seed / 10, None if none is None else none + seed / 10
            assert (row["kind"], row["sentences"], row["wrong"]) == (kind, size, None)
            measured = [row[name] for name in ("said", "none_said", "forward", "none_forward")]
            assert measured == pytest.approx([own, other, own + 0.5, other and other + 0.5])
            assert row["none_sentences"] == (None if none is None else kinds[none - 1][3])

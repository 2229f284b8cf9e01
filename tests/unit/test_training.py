"""Training a gpt grid point: seeds as one batch, the loss, the curse, the record."""

from __future__ import annotations

import json
import math

import polars as pl
import pytest
import torch

from reversal_curse.config.errors import UserError
from reversal_curse.config.settings import choices
from reversal_curse.families import FAMILIES
from reversal_curse.models.random_streams import seed_generators, stacked_permutations
from reversal_curse.tables.dataset import generate_dataset
from reversal_curse.tables.files import write_table
from reversal_curse.tables.run_files import is_trained, run_files
from reversal_curse.tables.schemas import TABLES
from reversal_curse.training.gpt import build_model
from reversal_curse.training.grid_point import read_dataset, train_grid_point
from reversal_curse.training.loop import train
from reversal_curse.training.schedule import evaluation_epochs

from .hugging_face import hugging_face_twin

CPU = torch.device("cpu")

FACTS = {"family": "masked_diffusion", "task": "facts", "layers": 1}
ONE_LAYER = {"family": "one_layer", "learning_rate": 0.5, "learning_rate_z": 0.5}
VARIED = [
    {},
    {"pos_encoding": "rotary", "tie_head": True},
    {"pos_encoding": "none", "dropout": 0.0},
    {"entity_length": 2, "loss_on": "sequence"},
    {"freeze_embeddings": True, "weight_decay": 0.5},
    {"vocab_size": 80, "batch_size": 16},
    *({**FACTS, "pos_encoding": encoding} for encoding in choices("pos_encoding")),
    {**FACTS, "masking": "either"},
    ONE_LAYER,
    {**ONE_LAYER, "task": "in_context"},
    {"family": "bilinear", "embed_dim": 64, "learning_rate": 2.0, "epochs": 60},
]


@pytest.mark.parametrize("overrides", VARIED, ids=str)
def test_a_seed_trained_in_a_batch_is_that_seed_trained_alone(
    small_settings, make_dataset, overrides
):
    settings = small_settings(**overrides)
    together = train(settings, make_dataset(settings), CPU)
    alone = train(settings, make_dataset(settings, seeds=[2]), CPU)
    near = 1e-3 if settings.family in ("gpt", "masked_diffusion") else 1e-5
    columns = {"metrics": ("nll_token", "nll_word"), "separation": ("nll_reverse",)}
    for name, table in alone.items():
        ours = together[name].filter(pl.col("seed") == 2)
        assert ours.height == table.height
        for column in columns.get(name, ()):
            assert ours[column].to_list() == pytest.approx(table[column].to_list(), abs=near)
        if name == "logits":
            assert (ours["logit"] - table["logit"]).abs().max() < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entity_length", "loss_on", "tie_head", "weight_decay"),
    [(1, "answer", False, 0.01), (2, "answer", False, 0.5), (2, "sequence", True, 0.01)],
)
def test_training_is_that_of_a_plain_loop_over_hugging_face_gpt2(
    small_settings, make_dataset, entity_length, loss_on, tie_head, weight_decay
):
    """One seed at a time, without dropout, from the same weights and in the same order."""
    settings = small_settings(
        vocab_size=40,
        entity_length=entity_length,
        loss_on=loss_on,
        tie_head=tie_head,
        weight_decay=weight_decay,
        dropout=0.0,
        batch_size=16,
        epochs=4,
        eval_every=1,
    )
    dataset, k = make_dataset(settings), entity_length
    ours = train(settings, dataset, CPU)["metrics"]
    untrained = build_model(settings, dataset, CPU)
    sentences = {name: torch.from_numpy(dataset.split(name)) for name in ("train", "unseen")}
    order = seed_generators(dataset.seeds, "order")
    count = sentences["train"].shape[1]
    permutations = [stacked_permutations(order, count) for _ in range(settings.epochs)]
    for seed in range(settings.seeds):
        twin = hugging_face_twin(untrained, settings, seed)
        optimizer = torch.optim.AdamW(
            twin.parameters(), lr=settings.learning_rate, weight_decay=weight_decay
        )
        for epoch in range(settings.epochs + 1):
            for split, tokens in sentences.items():
                with torch.no_grad():
                    log_p = twin(tokens[seed, :, :-1]).logits.log_softmax(-1)[:, -k:]
                each = -log_p.gather(-1, tokens[seed, :, -k:, None]).squeeze(-1)
                row = ours.filter(
                    pl.col("seed") == seed, pl.col("epoch") == epoch, pl.col("split") == split
                )
                assert row["nll_token"].item() == pytest.approx(each[:, 0].mean().item(), abs=1e-4)
                assert row["nll_word"].item() == pytest.approx(each.sum(1).mean().item(), abs=1e-4)
            if epoch == settings.epochs:
                break
            for chosen in permutations[epoch][seed].split(settings.batch_size):
                batch = sentences["train"][seed][chosen]
                labels = batch[:, 1:].clone()
                if loss_on == "answer":
                    labels[:, :-k] = -100
                logits = twin(batch[:, :-1]).logits
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


def test_the_curse_shows(small_settings, make_dataset):
    settings = small_settings(vocab_size=40, embed_dim=32, epochs=200, eval_every=200)
    metrics = train(settings, make_dataset(settings), CPU)["metrics"]
    last = metrics.filter(pl.col("epoch") == 200)
    train_loss = last.filter(pl.col("split") == "train")["nll_token"]
    unseen_loss = last.filter(pl.col("split") == "unseen")["nll_token"]
    assert last.select("chance_vocab", "chance_class").unique().row(0) == pytest.approx(
        (math.log(42), math.log(10))
    )
    assert train_loss.max() < 0.1
    assert unseen_loss.min() > math.log(40 // 4)


def test_frozen_embeddings_stay_as_drawn_and_others_move(small_settings, make_dataset):
    settings = small_settings(freeze_embeddings=True)
    dataset = make_dataset(settings)
    drawn = build_model(settings, dataset, CPU).embeddings()

    def trained(current):
        table = train(current, dataset, CPU)["embeddings"].sort("seed", "token")
        return torch.tensor(table["embedding"].to_list()).view(drawn.shape)

    assert torch.equal(trained(settings), drawn)
    assert not torch.equal(trained(small_settings()), drawn)


def test_the_loss_on_the_sequence_trains_positions_that_the_answer_does_not(
    small_settings, make_dataset
):
    """Under the answer's loss nothing asks for the relation after the entity."""
    losses = {}
    for loss_on in ("answer", "sequence"):
        settings = small_settings(loss_on=loss_on, epochs=60)
        tables = train(settings, make_dataset(settings), CPU)
        logits = tables["logits"].filter(pl.col("readout") == "entity")
        right = pl.col("query") == pl.col("candidate")
        losses[loss_on] = logits.filter(right, pl.col("group") == "train_forward")["logit"].mean()
    assert losses["answer"] > losses["sequence"] + 1


def test_logits_table_holds_both_readouts_of_all_groups(small_settings, make_dataset):
    settings = small_settings(vocab_size=80)
    logits = train(settings, make_dataset(settings), CPU)["logits"]
    sizes = logits.group_by("group", "readout").agg(
        pl.col("query").n_unique(), pl.col("candidate").n_unique(), pl.len()
    )
    for row in sizes.iter_rows(named=True):
        pairs = 14 if row["group"].startswith("train") else 6
        assert (row["query"], row["candidate"]) == (pairs, pairs)
        assert row["len"] == 3 * pairs * pairs
    assert sizes.height == 8


def test_logits_of_the_trained_readout_are_those_behind_the_metrics(small_settings, make_dataset):
    settings = small_settings(vocab_size=40, embed_dim=32, epochs=150)
    logits = train(settings, make_dataset(settings), CPU)["logits"]
    read = logits.filter(pl.col("readout") == "entity_relation")
    best = read.group_by("seed", "group", "query").agg(
        pl.col("candidate").sort_by("logit").last().alias("best")
    )
    right = best.group_by("group").agg((pl.col("best") == pl.col("query")).mean())
    by_group = dict(right.iter_rows())
    assert by_group["train_forward"] == by_group["train_backward"] == by_group["seen"] == 1.0
    assert by_group["unseen"] < 1.0


def test_embeddings_table_gives_every_token_one_role(small_settings, make_dataset):
    settings = small_settings(entity_length=2)
    dataset = make_dataset(settings)
    table = train(settings, dataset, CPU)["embeddings"]
    for seed in range(3):
        one = table.filter(pl.col("seed") == seed)
        assert sorted(one["token"]) == list(range(22))
        assert one.filter(pl.col("role") == "relation")["token"].to_list() == [0, 1]
        forward = dataset.table.filter(pl.col("seed") == seed, pl.col("direction") == "forward")
        a = {token for tokens in forward["tokens"].to_list() for token in tokens[:2]}
        assert set(one.filter(pl.col("role") == "A")["token"]) == a


def test_evaluations_come_before_training_at_every_interval_and_after_the_last_epoch():
    assert evaluation_epochs(10, 4) == [0, 4, 8, 10]


def test_a_run_records_what_its_tables_do_not(small_settings, make_dataset, tmp_path):
    settings = small_settings()
    train_grid_point(settings, make_dataset(settings), tmp_path / "run", threads=1)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"] == settings.described()
    assert record["settings"]["masking"] is None, "it means nothing to gpt"
    assert is_trained(tmp_path / "run", settings)
    assert not is_trained(tmp_path / "run", small_settings(epochs=21))
    assert record["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert record["wall_seconds"] > 0
    assert record["versions"]["torch"] == torch.__version__
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(run_files(settings))


@pytest.mark.parametrize(
    "other", [{"seeds": 2}, {"entity_length": 2}, {"vocab_size": 40}, {"task": "chain"}]
)
def test_a_dataset_of_other_settings_is_refused(small_settings, tmp_path, other):
    path = tmp_path / "dataset.parquet"
    write_table(path, generate_dataset(small_settings(**other)), TABLES["dataset"])
    with pytest.raises(UserError, match="not the dataset of task=reversal/vocab_size=20"):
        read_dataset(path, small_settings())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_that_diverged_leaves_the_others_alone(small_settings, make_dataset, family):
    settings = small_settings(family=family)
    dataset = make_dataset(settings)
    start = FAMILIES[family].load_start()
    clean, sick = (start(settings, dataset, torch.device("cpu")) for _ in range(2))
    with torch.no_grad():
        for name, tensor in sick.tensors.items():
            if name != "adamw.steps":  # which the seeds share
                tensor[0] = float("nan")
    for _ in range(3):
        clean.epoch()
        sick.epoch()
    sentences = clean.learner.sentences(pl.col("split") == "unseen")
    with torch.no_grad():
        expected, found = (run.learner.ask(sentences) for run in (clean, sick))
    assert found[0].isnan().all()
    assert torch.equal(found[1:], expected[1:])

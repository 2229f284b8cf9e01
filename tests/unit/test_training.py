"""Training a gpt grid point: seeds as one batch, the loss, the curse, the record."""

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
from reversal_curse.tables.record import read_record
from reversal_curse.tables.run_files import state_of, table_files
from reversal_curse.tables.schemas import TABLES
from reversal_curse.training.gpt import build_model
from reversal_curse.training.grid_point import read_dataset, train_grid_point
from reversal_curse.training.observer import evaluation_epochs
from small_runs import CPU, dataset_of, small_settings, trained

from .hugging_face import hugging_face_twin

FACTS = {"family": "masked_diffusion", "task": "facts", "layers": 1}
ONE_LAYER = {"family": "one_layer", "learning_rate": 0.5, "learning_rate_z": 0.5}
SGD = {"optimizer": "sgd", "learning_rate": 0.1}
MUON = {"optimizer": "muon", "weight_decay": 0.5}
VARIED = [
    {},
    {"pos_encoding": "rotary", "tie_head": True},
    {"pos_encoding": "none", "dropout": 0.0},
    {"entity_length": 2, "loss_on": "sequence"},
    {"freeze_embeddings": True, "weight_decay": 0.5},
    {"vocab_size": 80, "batch_size": 16},
    *({**FACTS, "pos_encoding": encoding} for encoding in choices("pos_encoding")),
    {**FACTS, "masking": "either"},
    SGD,
    MUON,
    {"copy_first": "masked", "entity_length": 2},
    {"copy_first": "random", "mask_rate": "fixed"},
    ONE_LAYER,
    {**ONE_LAYER, "factorised": True},
    {**ONE_LAYER, "task": "in_context"},
    {"family": "bilinear", "embed_dim": 64, "learning_rate": 2.0, "epochs": 60},
]


@pytest.mark.parametrize("overrides", VARIED, ids=str)
def test_a_seed_trained_in_a_batch_equals_that_seed_trained_alone(overrides):
    settings = small_settings(**overrides)
    together = trained(settings)
    alone = trained(settings, seeds=[2])
    near = 1e-3 if settings.family in ("gpt", "masked_diffusion") else 1e-5
    columns = {"metrics": ("nll_token", "nll_word"), "separation": ("nll_reverse",)}
    for name, table in alone.items():
        ours = together[name].filter(seed=2)
        assert ours.height == table.height
        for column in columns.get(name, ()):
            assert ours[column].to_list() == pytest.approx(table[column].to_list(), abs=near)
        if name == "logits" and ours.height:
            assert (ours["logit"] - table["logit"]).abs().max() < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "loss_on", "tie_head", "weight_decay"),
    [(1, "answer", False, 0.01), (2, "answer", False, 0.5), (2, "sequence", True, 0.01)],
)
def test_training_equals_a_plain_loop_over_hugging_face_gpt2(
    length, loss_on, tie_head, weight_decay
):
    """The loop trains one seed at a time, without dropout, from the same weights and order."""
    arm = {"entity_length": length, "loss_on": loss_on, "tie_head": tie_head}
    pace = {"dropout": 0.0, "batch_size": 16, "epochs": 4, "eval_every": 1}
    settings = small_settings(**arm, **pace, vocab_size=40, weight_decay=weight_decay)
    dataset = dataset_of(settings)
    ours = trained(settings)["metrics"]
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
                    log_p = twin(tokens[seed, :, :-1]).logits.log_softmax(-1)[:, -length:]
                each = -log_p.gather(-1, tokens[seed, :, -length:, None]).squeeze(-1)
                row = ours.filter(seed=seed, epoch=epoch, split=split)
                assert row["nll_token"].item() == pytest.approx(each[:, 0].mean().item(), abs=1e-4)
                assert row["nll_word"].item() == pytest.approx(each.sum(1).mean().item(), abs=1e-4)
            if epoch == settings.epochs:
                break
            for chosen in permutations[epoch][seed].split(settings.batch_size):
                batch = sentences["train"][seed][chosen]
                labels = batch[:, 1:].clone()
                if loss_on == "answer":
                    labels[:, :-length] = -100
                logits = twin(batch[:, :-1]).logits
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


def test_the_curse_shows_in_the_metrics_and_in_the_logits_behind_them():
    tables = trained(small_settings(vocab_size=40, embed_dim=32, epochs=200, eval_every=200))
    last = tables["metrics"].filter(epoch=200)
    chances = last.select("chance_vocab", "chance_class").unique().row(0)
    assert chances == pytest.approx((math.log(42), math.log(10)))
    assert last.filter(split="train")["nll_token"].max() < 0.1
    assert last.filter(split="unseen")["nll_token"].min() > math.log(40 // 4)
    read = tables["logits"].filter(readout="entity_relation")
    best = read.group_by("seed", "group", "query").agg(pl.col("candidate").sort_by("logit").last())
    right = best.group_by("group").agg((pl.col("candidate") == pl.col("query")).mean())
    by_group = dict(right.iter_rows())
    assert by_group["train_forward"] == by_group["train_backward"] == by_group["seen"] == 1.0
    assert by_group["unseen"] < 1.0


def test_frozen_embeddings_stay_as_drawn_and_others_move():
    settings = small_settings(freeze_embeddings=True)
    drawn = build_model(settings, dataset_of(settings), CPU).embeddings()

    def learned(current):
        table = trained(current)["embeddings"].sort("seed", "token")
        return torch.tensor(table["embedding"].to_list()).view(drawn.shape)

    assert torch.equal(learned(settings), drawn)
    assert not torch.equal(learned(small_settings()), drawn)


def test_the_table_of_logits_holds_both_readouts_of_all_groups():
    logits = trained(small_settings(vocab_size=80))["logits"]
    sizes = logits.group_by("group", "readout").agg(
        pl.col("query", "candidate").n_unique(), pl.len()
    )
    for group, _, *counts in sizes.iter_rows():
        pairs = 14 if group.startswith("train") else 6
        assert counts == [pairs, pairs, 3 * pairs * pairs]
    assert sizes.height == 8


def test_the_table_of_embeddings_gives_every_token_one_role():
    settings = small_settings(entity_length=2)
    table, sentences = trained(settings)["embeddings"], dataset_of(settings).table
    for seed in range(3):
        one = table.filter(seed=seed)
        assert sorted(one["token"]) == list(range(22))
        assert one.filter(role="relation")["token"].to_list() == [0, 1]
        forward = sentences.filter(seed=seed, direction="forward")
        a = {token for tokens in forward["tokens"].to_list() for token in tokens[:2]}
        assert set(one.filter(role="A")["token"]) == a


def test_evaluations_come_before_training_at_every_interval_and_after_the_last_epoch():
    assert evaluation_epochs(10, 4) == [0, 4, 8, 10]


def test_a_run_records_what_its_tables_do_not(tmp_path):
    settings = small_settings()
    train_grid_point(settings, dataset_of(settings), tmp_path / "run", threads=1)
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["settings"] == settings.described()
    assert record["settings"]["masking"] is None, "masking does not apply to gpt"
    assert state_of(tmp_path / "run", settings).record == read_record(tmp_path / "run/run.json")
    other = state_of(tmp_path / "run", small_settings(epochs=21))
    assert (other.record, other.problem.rpartition(": ")[2]) == (None, "epochs must be 21, got 20")
    assert record["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert record["wall_seconds"] > 0
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {*table_files(settings), "run.json"}


@pytest.mark.parametrize(
    "other", [{"seeds": 2}, {"entity_length": 2}, {"vocab_size": 40}, {"task": "chain"}]
)
def test_a_dataset_of_other_settings_is_refused(tmp_path, other):
    path = tmp_path / "dataset.parquet"
    write_table(path, generate_dataset(small_settings(**other)), TABLES["dataset"])
    with pytest.raises(UserError, match="not the dataset of task=reversal/vocab_size=20"):
        read_dataset(path, small_settings())


@pytest.mark.parametrize(
    "overrides", [*({"family": name} for name in FAMILIES), SGD, MUON, {"copy_first": "random"}]
)
def test_a_seed_that_diverged_leaves_the_others_alone(overrides):
    settings = small_settings(**overrides)
    start, dataset = FAMILIES[settings.family].load_start(), dataset_of(settings)
    clean, sick = (start(settings, dataset, CPU) for _ in range(2))
    with torch.no_grad():
        for name, tensor in sick.tensors.items():
            if name != "adamw.steps":  # the seeds share this one
                tensor[0] = float("nan")
    for _ in range(3):
        clean.epoch()
        sick.epoch()
    sentences = clean.learner.sentences(pl.col("split") == "unseen")
    with torch.no_grad():
        expected, found = (run.learner.ask(sentences) for run in (clean, sick))
    assert found[0].isnan().all()
    assert torch.equal(found[1:], expected[1:])

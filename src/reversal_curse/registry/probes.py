"""The probes: what is measured on a model in training, beside the metrics, and its table."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

import polars as pl

from reversal_curse.schema import (
    DIRECTION,
    EPOCH,
    PAIR,
    PAIR_SPLIT,
    SEED,
    SENTENCE_SPLIT,
    Column,
    Table,
)


@dataclass(frozen=True)
class Probe:
    """One probe: its module in `reversal_curse.probes` has `probe(learner)`, a DataFrame."""

    families: tuple[str, ...]
    """Families that it measures; their runs write its table."""
    when: Literal["end", "dense", "sparse"]
    """After the last epoch; or also during training (see `training/schedule.py`)."""
    table: Table

    def load(self) -> ModuleType:
        return import_module(f"reversal_curse.probes.{self.table.name}")


_PROBES = (
    Probe(
        families=("gpt",),
        when="end",
        table=Table(
            "logits",
            "the logit of one candidate after one query, at the end of training",
            (
                SEED,
                Column(
                    "group",
                    pl.String,
                    "",
                    "`train_forward`, `train_backward`, `seen`, `unseen`; chain: "
                    "`train_a_to_b`, ...",
                ),
                Column("readout", pl.String, "", "query: `entity` alone, or `entity_relation`"),
                Column("query", pl.Int32, "", "position of the query within its group"),
                Column(
                    "candidate",
                    pl.Int32,
                    "",
                    "position of the candidate; right where it equals `query`",
                ),
                Column(
                    "logit",
                    pl.Float32,
                    "nats",
                    "unnormalised log-probability of the first answer token",
                ),
            ),
        ),
    ),
    Probe(
        families=("gpt", "masked_diffusion"),
        when="end",
        table=Table(
            "embeddings",
            "one token's embedding, at the end of training",
            (
                SEED,
                Column("token", pl.Int32, "", "token id"),
                Column(
                    "role",
                    pl.String,
                    "",
                    "`relation`, `A`, `B`, `C`; `chain_related`: `x`, `y`, `z`, `index`; `unused`",
                ),
                Column(
                    "position", pl.Int32, "", "place within its role, in the order of the dataset"
                ),
                Column("embedding", pl.List(pl.Float32), "", "`embed_dim` numbers"),
            ),
        ),
    ),
    Probe(
        families=("one_layer", "bilinear"),
        when="end",
        table=Table(
            "weights",
            "the weight from one entity token to another, at the end of training",
            (
                SEED,
                PAIR_SPLIT,
                Column("source_role", pl.String, "", "`A`, `B` or `C` (see `embeddings`)"),
                Column(
                    "source",
                    pl.Int32,
                    "",
                    "place within its role; partners of one token have the same place",
                ),
                Column("target_role", pl.String, "", "as `source_role`"),
                Column("target", pl.Int32, "", "place within its role"),
                Column("weight", pl.Float32, "nats", "logit of the target after the source"),
            ),
        ),
    ),
    Probe(
        families=("bilinear",),
        when="dense",
        table=Table(
            "separation",
            "one held-out pair at one step: each of the first 100, then every 5 % further",
            (
                SEED,
                EPOCH,
                PAIR,
                Column("nll_forward", pl.Float32, "nats", "-ln p of the direction that is trained"),
                Column(
                    "nll_reverse", pl.Float32, "nats", "-ln p of the direction that is held out"
                ),
            ),
        ),
    ),
    Probe(
        families=("one_layer",),
        when="dense",
        table=Table(
            "sentence_nll",
            "one sentence of a held-out fact at one step: the first 100, then every 5 % further",
            (
                SEED,
                EPOCH,
                PAIR,
                PAIR_SPLIT,
                DIRECTION,
                SENTENCE_SPLIT,
                Column("tokens", pl.Int32, "tokens", "M, the size of the model's vocabulary"),
                Column("learning_rate", pl.Float64, "", "eta_Y, the learning rate of Y"),
                Column("nll", pl.Float64, "nats", "-ln p of the answer"),
            ),
        ),
    ),
    Probe(
        families=("masked_diffusion",),
        when="sparse",
        table=Table(
            "attention",
            "one held-out fact in one head: the masked token's score for the known entity",
            (
                SEED,
                EPOCH,
                Column("layer", pl.Int32, "", "counted from 0"),
                Column("head", pl.Int32, "", "counted from 0"),
                PAIR,
                Column(
                    "displacement", pl.Int32, "positions", "D, from the masked token to the entity"
                ),
                Column(
                    "rotated",
                    pl.Int32,
                    "features",
                    "features of a head that rotary positions rotate; 0 without them",
                ),
                Column(
                    "score_forward",
                    pl.Float32,
                    "",
                    "before the softmax, in `[M] is B`, the layout of the training set",
                ),
                Column("score_reverse", pl.Float32, "", "before the softmax, in `B is [M]`"),
            ),
        ),
    ),
    Probe(
        families=("gpt", "masked_diffusion"),
        when="sparse",
        table=Table(
            "gradients",
            "one group of parameters: the gradient of what is shown of the held-out facts "
            "against that of what is held out",
            (
                SEED,
                EPOCH,
                Column(
                    "group",
                    pl.String,
                    "",
                    "`all`, `attention` (queries, keys), `values` (values, output projection), "
                    "`mlp`, `embeddings`, `head`, `norms`",
                ),
                Column(
                    "cosine",
                    pl.Float32,
                    "",
                    "of the forward and the reverse gradient of one fact, mean over five facts",
                ),
                Column(
                    "cosine_control",
                    pl.Float32,
                    "",
                    "the same, with the reverse answer of another fact; null where there is none",
                ),
                Column("nll_forward", pl.Float64, "nats", "forward loss at this epoch"),
                Column("nll_reverse", pl.Float64, "nats", "reverse loss at this epoch"),
                Column(
                    "predicted_change",
                    pl.Float64,
                    "nats",
                    "of the reverse loss, to first order, by a forward gradient step of this group",
                ),
                Column("actual_change", pl.Float64, "nats", "of the reverse loss by that step"),
            ),
        ),
    ),
)
PROBES = {probe.table.name: probe for probe in _PROBES}


def run_tables(family: str) -> tuple[str, ...]:
    """The Parquet tables that a run of a family writes."""
    return ("metrics", *(name for name, probe in PROBES.items() if family in probe.families))

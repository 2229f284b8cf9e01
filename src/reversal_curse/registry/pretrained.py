"""The tables that a probed pretrained model writes."""

from __future__ import annotations

import polars as pl

from reversal_curse.schema import Column, Table

MODEL = Column("model", pl.String, "", "its `name` in the config")
KIND = Column("kind", pl.String, "", "`masked_diffusion`, `masked_lm` or `causal`")
RUN = Column("seed", pl.Int32, "", "run of the fine-tuning, from 0; 0 before it")
STAGE = Column("stage", pl.String, "", "`before` or `after` fine-tuning on forward statements")
FACT = Column("fact", pl.Int32, "", "row of the table of facts, from 0")
RELATION = Column("relation", pl.Int32, "", "which templates, from 0")
_KEYS = (MODEL, KIND, RUN, STAGE)

PRETRAINED_TABLES = {
    "answers": Table(
        "pretrained_answers",
        "one fact asked in one direction",
        (
            *_KEYS,
            Column("direction", pl.String, "", "`forward` (for the object) or `reverse`"),
            FACT,
            RELATION,
            Column("tokens", pl.Int32, "tokens", "length of the answer"),
            Column("nll", pl.Float32, "nats per token", "-ln p of the whole answer, over `tokens`"),
            Column(
                "nll_shuffled",
                pl.Float32,
                "nats per token",
                "the same for the answer of another fact of the relation; null where there is none",
            ),
            Column("exact", pl.Boolean, "", "whether the greedy answer is right in every token"),
            Column("chance", pl.Float32, "nats per token", "ln of the size of the vocabulary"),
        ),
    ),
    "scores": Table(
        "pretrained_scores",
        "one fact in one head: the masked subject's score for the known object",
        (
            *_KEYS,
            Column("layer", pl.Int32, "", "counted from 0"),
            Column("head", pl.Int32, "", "counted from 0"),
            FACT,
            RELATION,
            Column("tokens", pl.Int32, "tokens", "length of the subject, which is masked"),
            Column(
                "displacement_forward",
                pl.Int32,
                "positions",
                "from the first masked token to the object's first, in the forward sentence",
            ),
            Column("displacement_reverse", pl.Int32, "positions", "in the reverse one; negative"),
            Column("score_forward", pl.Float32, "", "before the softmax, forward sentence"),
            Column("score_reverse", pl.Float32, "", "before the softmax, reverse sentence"),
        ),
    ),
    "gradients": Table(
        "pretrained_gradients",
        "one group of parameters: forward against reverse gradient",
        (
            *_KEYS,
            Column(
                "group",
                pl.String,
                "",
                "`all`, `attention` (queries, keys), `values` (values, output), `fused` (queries, "
                "keys and values in one matrix), `mlp`, `embeddings`, `head`, `norms`, `other`",
            ),
            Column(
                "cosine",
                pl.Float32,
                "",
                "of the forward and the reverse gradient of one fact, mean over at most five",
            ),
            Column(
                "cosine_control",
                pl.Float32,
                "",
                "the same, with the reverse answer of another fact; null where there is none",
            ),
            Column("nll_forward", pl.Float64, "nats per token", "forward loss, mean over facts"),
            Column("nll_reverse", pl.Float64, "nats per token", "reverse loss, mean over facts"),
            Column(
                "predicted_change",
                pl.Float64,
                "nats per token",
                "of the reverse loss, to first order, by a forward gradient step of this group",
            ),
            Column(
                "actual_change",
                pl.Float64,
                "nats per token",
                "by that step; null where the weights are too coarse for it (not float32)",
            ),
        ),
    ),
}

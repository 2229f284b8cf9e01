"""Claims on chain of thought and on reversal in context: Zhu et al. 2024, section 5, appendix."""

from typing import Any

import polars as pl

from reversal_curse.claims.claim import Claim
from reversal_curse.claims.effects import (
    ABOVE_CLASS_CHANCE,
    AT_EVERY_POINT,
    NO_BETTER,
    STANDS_OUT,
    TRAIN_ACCURACY,
    contrast,
    contrast_left,
    worst_over_points,
)
from reversal_curse.claims.reversal import ENCODINGS, LENGTHS, LONG

WORST = "loss of unseen A ~> C minus that of a guess within the class (nats), worst point"
CHAIN = {"task": ("chain",), "family": ("gpt",)}
FROZEN: dict[str, Any] = {"varies": ("freeze_embeddings",), "may_vary": ("loss_on",)}


def _robust(name: str, what: str, where: dict = CHAIN, **data: Any) -> Claim:
    return Claim(
        id=f"chain_{name}",
        paper="P1, appendix",
        statement=f"A ~> C is not inferred from A -> B and B -> C {what}.",
        where=where,
        measures=WORST,
        **AT_EVERY_POINT,
        **data,
    )


CLAIMS = (
    Claim(
        id="chain_learned",
        paper="P1, figure 3",
        statement="The training sentences of the chain are learned.",
        where=CHAIN,
        measures="accuracy on the training sentences (fraction)",
        effect=worst_over_points(TRAIN_ACCURACY),
        threshold=0.95,
        because="95 % of the answers right",
    ),
    Claim(
        id="chain_not_inferred",
        paper="P1, figure 3",
        statement="A ~> C is not inferred from A -> B and B -> C without a chain of thought.",
        where=CHAIN,
        measures="loss of unseen A ~> C minus that of a guess within the class (nats)",
        effect=worst_over_points(ABOVE_CLASS_CHANCE, once_learned=True),
        threshold=0.0,
        because=NO_BETTER,
    ),
    _robust("vocab", "at any vocabulary size of the sweep", varies=("vocab_size",)),
    _robust("layers", "at any depth of the sweep", varies=("layers",)),
    _robust("positional", "under any positional encoding of the sweep", **ENCODINGS),
    _robust("entity_length", "with entities of several tokens", CHAIN | LONG, **LENGTHS),
    _robust("frozen", "with frozen or learned embeddings", **FROZEN),
    Claim(
        id="chain_logits_seen",
        paper="P1, figure 4",
        statement="The logits of A -> B stand out on the diagonal for held-out chains.",
        where=CHAIN,
        tables=("logits",),
        measures="right minus other logits, validation triples, A -> B (nats)",
        effect=contrast("validation_a_to_b"),
        threshold=STANDS_OUT,
        because="ln 20: one answer as likely as twenty others together",
    ),
    Claim(
        id="chain_logits_unseen",
        paper="P1, figure 4",
        statement="The logits of the leap A ~> C do not stand out on the diagonal for held-out "
        "chains.",
        where=CHAIN,
        tables=("logits",),
        measures="a tenth, minus the contrast of A ~> C over that of A -> B",
        effect=contrast_left("validation_a_to_b", "validation_a_to_c"),
        threshold=0.0,
        because="less than a tenth of the contrast of A -> B",
    ),
    Claim(
        id="chain_related_inferred",
        paper="P1, appendix (entities that share a token); the statement is ours",
        statement="Where the entities of a chain share a token, the leap x i ~> z i of a held-out "
        "chain is answered.",
        where={"task": ("chain_related",), "family": ("gpt",)},
        may_vary=("train_facts",),
        measures="loss of a guess of the word minus that of the unseen word (nats), worst point",
        effect=worst_over_points(pl.col("chance_class") - pl.col("unseen_nll_word")),
        threshold=1.0,
        because="1 nat: a factor e in probability better than a guess",
    ),
    Claim(
        id="in_context_reversal",
        paper="P1, appendix",
        statement="A fact that stands in the context is reversed, also in sentences never trained.",
        where={"task": ("in_context",), "family": ("gpt",)},
        measures="accuracy on the unseen sentences (fraction)",
        effect=worst_over_points(pl.col("unseen_accuracy")),
        threshold=0.9,
        because="90 % of the answers right",
    ),
)

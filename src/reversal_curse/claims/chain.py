"""Claims on chain of thought and on reversal in context: Zhu et al. 2024, section 5, appendix."""

import polars as pl

from reversal_curse.claims import effects
from reversal_curse.claims.claim import Claim, Fields, Threshold
from reversal_curse.claims.reversal import DEPTHS, ENCODINGS, LENGTHS, LONG, SIZES

CHAIN = {"task": ("chain",), "family": ("gpt",)}
FROZEN: Fields = {"varies": ("freeze_embeddings",), "may_vary": ("loss_on",)}
FIGURE_3: Fields = {"paper": "P1, figure 3", "where": CHAIN}
FIGURE_4: Fields = {"paper": "P1, figure 4", "where": CHAIN, "tables": ("logits",)}


def _robust(what: str, data: Fields, where: dict = CHAIN) -> Claim:
    statement = f"A ~> C is not inferred from A -> B and B -> C {what}."
    return Claim("P1, appendix", statement, where=where, **data, **effects.AT_EVERY_POINT)


CLAIMS = {
    "chain_learned": Claim(
        statement="The training sentences of the chain are learned.",
        **FIGURE_3,
        **effects.LEARNS,
    ),
    "chain_not_inferred": Claim(
        statement="A ~> C is not inferred from A -> B and B -> C without a chain of thought.",
        **FIGURE_3,
        **effects.guessed(),
    ),
    "chain_vocab": _robust("at any vocabulary size of the sweep", SIZES),
    "chain_layers": _robust("at any depth of the sweep", DEPTHS),
    "chain_positional": _robust("under any positional encoding of the sweep", ENCODINGS),
    "chain_entity_length": _robust("with entities of several tokens", LENGTHS, CHAIN | LONG),
    "chain_frozen": _robust("with frozen or learned embeddings", FROZEN),
    "chain_logits_seen": Claim(
        statement="The logits of A -> B stand out on the diagonal for held-out chains.",
        **FIGURE_4,
        measures="right minus other logits, validation triples, A -> B (nats)",
        effect=effects.contrast("validation_a_to_b"),
        threshold=effects.STANDS_OUT,
    ),
    "chain_logits_unseen": Claim(
        statement="The logits of A ~> C do not stand out on the diagonal for held-out chains.",
        **FIGURE_4,
        measures="0.1 minus (contrast of A ~> C / contrast of A -> B)",
        effect=effects.contrast_left("validation_a_to_b", "validation_a_to_c"),
        threshold=Threshold(0.0, "less than a tenth of the contrast of A -> B"),
    ),
    "chain_related_inferred": Claim(
        paper="P1, appendix (entities that share a token); the statement is ours",
        statement="If a held-out chain's entities share a token, its leap x i ~> z i is answered.",
        where={"task": ("chain_related",), "family": ("gpt",)},
        may_vary=("train_facts",),
        measures="loss of a guess of the word minus that of the unseen word (nats), worst point",
        effect=effects.worst_over_points(pl.col("chance_class") - pl.col("unseen_nll_word")),
        threshold=Threshold(1.0, "1 nat: a factor e in probability better than a guess"),
    ),
    "in_context_reversal": Claim(
        paper="P1, appendix",
        statement="A fact in the context is reversed, even in sentences that were never trained.",
        where={"task": ("in_context",), "family": ("gpt",)},
        measures="accuracy on the unseen sentences (fraction)",
        effect=effects.worst_over_points(pl.col("unseen_accuracy")),
        threshold=Threshold(0.9, "90 % of the answers right"),
    ),
}

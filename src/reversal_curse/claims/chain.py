"""Claims on chain of thought and on reversal in context: Zhu et al. 2024, section 5, appendix."""

from functools import partial

import polars as pl

from reversal_curse.claims import effects
from reversal_curse.claims.claim import Claim, Fields, Tables, Threshold
from reversal_curse.claims.reversal import DEPTHS, ENCODINGS, HEADS, LENGTHS, LONG, SIZES
from reversal_curse.tables.summaries import LAST

CHAIN = {"task": ("chain",), "family": ("gpt",), "tie_head": (False,)}
FROZEN: Fields = {"varies": ("freeze_embeddings",), "may_vary": ("loss_on",)}
_figure_3 = partial(Claim, paper="P1, figure 3", where=CHAIN)
_figure_4 = partial(Claim, paper="P1, figure 4", where=CHAIN, tables=("logits",))
_related = partial(
    Claim, where={"task": ("chain_related",), "family": ("gpt",)}, may_vary=("train_facts",)
)


def _robust(name: str, what: str, data: Fields, where: dict = CHAIN) -> dict:
    return effects.both_readings(
        name,
        "P1, appendix",
        f"A ~> C is not inferred from A -> B and B -> C {what}",
        f"Which C follows from A is not known without a chain of thought {what}",
        where=where,
        **data,
    )


def _two_steps(tables: Tables) -> pl.DataFrame:
    """Return the share of held-out triples whose two steps end at C, by grid point and seed."""
    last = tables["chain_of_thought"].filter(LAST, pair_split="validation")
    return last.group_by("run", "seed").agg(effect=pl.col("steps").mean())


CLAIMS = {
    "chain_learned": _figure_3(
        statement="The training sentences of the chain are learned.", **effects.LEARNS
    ),
    "chain_not_inferred": _figure_3(
        statement="A ~> C is not inferred from A -> B and B -> C without a chain of thought.",
        **effects.guessed(),
    ),
    "chain_unknown": _figure_3(
        statement="There is no trace of A ~> C: which C follows from A is not known without a "
        "chain of thought.",
        **effects.unknown(),
    ),
    **_robust("chain_vocab", "at any vocabulary size of the sweep", SIZES),
    **_robust("chain_layers", "at any depth of the sweep", DEPTHS),
    **_robust("chain_heads", "with any number of heads of the sweep", HEADS),
    **_robust("chain_positional", "under any positional encoding of the sweep", ENCODINGS),
    **_robust("chain_entity_length", "with entities of several tokens", LENGTHS, CHAIN | LONG),
    **_robust("chain_frozen", "with frozen or learned embeddings", FROZEN),
    "chain_logits_seen": _figure_4(
        statement="The logits of A -> B stand out on the diagonal for held-out chains.",
        measures="right minus other logits, validation triples, A -> B (nats)",
        effect=effects.contrast("validation_a_to_b"),
        threshold=effects.STANDS_OUT,
    ),
    "chain_logits_unseen": _figure_4(
        statement="The logits of A ~> C do not stand out on the diagonal for held-out chains.",
        measures="0.1 minus (contrast of A ~> C / contrast of A -> B)",
        effect=effects.contrast_left("validation_a_to_b", "validation_a_to_c"),
        threshold=Threshold(0.0, "less than a tenth of the contrast of A -> B"),
    ),
    "chain_of_thought": Claim(
        paper="P1, section 5",
        statement="Held-out chains are answered in two steps: A -> B, then B -> C from the model's "
        "own B.",
        where=CHAIN,
        tables=("chain_of_thought",),
        measures="held-out triples whose two steps end at C, after training (fraction)",
        effect=_two_steps,
        threshold=effects.ANSWERED,
    ),
    "chain_related_words": _related(
        paper="P1, appendix (entities that share a token)",
        statement="x i ~> z i is not inferred although the entities of a chain share a token.",
        measures="loss of the unseen word minus that of a guess of its index (nats)",
        effect=effects.at_points(pl.col("unseen_nll_word") - pl.col("chance_class")),
        threshold=Threshold(0.0, "0: the class token known, the index guessed"),
    ),
    "chain_related_inferred": _related(
        paper="ours, against P1, appendix (entities that share a token)",
        statement="If a held-out chain's entities share a token, its leap x i ~> z i is answered.",
        **effects.answered("of the whole words"),
    ),
    "in_context_reversal": Claim(
        paper="P1, appendix",
        statement="A fact in the context is reversed, even in sentences that were never trained.",
        where={"task": ("in_context",), "family": ("gpt",)},
        may_vary=("loss_on",),
        **effects.answered("on the unseen sentences"),
    ),
}

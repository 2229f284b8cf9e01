"""Claims on the reversal experiments: Zhu et al. 2024, section 5 and appendix."""

from functools import partial

import polars as pl

from reversal_curse.claims import effects
from reversal_curse.claims.claim import Claim, Fields, Tables, Threshold
from reversal_curse.tables import summaries

ONE_SENTENCE = (
    "a held-out pair has one sentence: its question is never an input, its answer never a target, "
    "and an untied head shares nothing between the two"
)
UNTIED = {"task": ("reversal",), "family": ("gpt",), "tie_head": (False,)}
LONG = {"entity_length": (2, 3)}
SIZES: Fields = {"varies": ("vocab_size",)}
DEPTHS: Fields = {"varies": ("layers",)}
HEADS: Fields = {"varies": ("heads",)}
SHAPES: Fields = {"varies": ("layers", "embed_dim"), "may_vary": ("heads",)}
ENCODINGS: Fields = {"varies": ("pos_encoding",), "may_vary": ("rotary_fraction",)}
LENGTHS: Fields = {"varies": ("entity_length",)}
FROZEN: Fields = {"varies": ("freeze_embeddings",)}
_figure_1 = partial(Claim, paper="P1, figure 1", where=UNTIED)
_figure_2 = partial(Claim, paper="P1, figure 2", where=UNTIED, tables=("logits",))
_decays = partial(Claim, paper="P1, table of settings", where=UNTIED, varies=("weight_decay",))
_head = partial(
    Claim,
    paper="ours; GPT-2 ties its head, the code of P1 does not",
    where={"task": ("reversal",), "family": ("gpt",)},
    varies=("tie_head",),
    may_vary=("vocab_size", "layers", "embed_dim", "heads", "pos_encoding", "epochs"),
)
AS_PRINTED = (pl.col("learning_rate") * pl.col("weight_decay") - 0.01 * 0.9).abs() < 1e-9
TIED = pl.col("tie_head")


def robust(
    name: str, place: str, what: str, data: Fields, where: dict = UNTIED, check: str = ONE_SENTENCE
) -> dict:
    return effects.both_readings(
        name,
        f"P1, {place}",
        f"The reversal curse appears {what}",
        f"Which answer is right in the unseen direction is not known {what}",
        where=where,
        check=check,
        **data,
    )


def _cosine_margin(tables: Tables) -> pl.DataFrame:
    """Return 0.05 minus the mean |cosine| in excess of random directions, by point and seed."""
    used = tables["embeddings"].filter(pl.col("role") != "unused")
    rows = []
    for part in used.partition_by("run", "seed"):
        random = summaries.random_absolute_cosine(part["embed_dim"][0])
        margin = 0.05 + random - summaries.mean_absolute_cosine(part)
        rows.append((part["run"][0], part["seed"][0], margin))
    return pl.DataFrame(rows, ["run", "seed", "effect"], orient="row")


CLAIMS = {
    "reversal_learned": _figure_1(
        statement="The training sentences are learned.", **effects.LEARNS
    ),
    "reversal_curse": _figure_1(
        statement="The untrained direction is said no better than by a guess.",
        check=ONE_SENTENCE,
        **effects.guessed(),
    ),
    "reversal_unknown": _figure_1(
        statement="There is no trace of the untrained direction: which answer is right is not "
        "known.",
        check=ONE_SENTENCE,
        **effects.unknown(),
    ),
    **robust("reversal_vocab", "figure 5", "at every vocabulary size of the sweep", SIZES),
    **robust("reversal_layers", "appendix", "at every depth of the sweep", DEPTHS),
    **robust("reversal_heads", "appendix", "with every number of heads of the sweep", HEADS),
    **robust("reversal_depth_width", "figure 10", "in shallow and in narrow models", SHAPES),
    **robust(
        "reversal_positional", "appendix", "under every positional encoding of the sweep", ENCODINGS
    ),
    **robust(
        "reversal_entity_length",
        "figure 8",
        "with entities of several tokens",
        LENGTHS,
        UNTIED | LONG,
        check="",  # entities share tokens
    ),
    **robust("reversal_frozen", "appendix", "with frozen embeddings as with learned ones", FROZEN),
    "tied_head_unsaid": _head(
        statement="With a tied head, too, the untrained direction is said no better than by a "
        "guess.",
        **effects.guessed(TIED),
    ),
    "tied_head_known": _head(
        statement="With a tied head it is known which answer is right in the direction that was "
        "never trained.",
        **effects.known(TIED),
    ),
    "untied_head_unknown": _head(
        statement="With an untied head it is not known, on average, which answer is right in the "
        "direction that was never trained.",
        check=ONE_SENTENCE,
        **effects.unknown(~TIED),
    ),
    "reversal_logits_seen": _figure_2(
        statement="The logits of the seen direction stand out on the diagonal.",
        measures="right minus other logits, validation pairs, seen direction (nats)",
        effect=effects.contrast("seen"),
        threshold=effects.STANDS_OUT,
    ),
    "reversal_logits_unseen": _figure_2(
        statement="The logits of the unseen direction do not stand out on the diagonal.",
        check=ONE_SENTENCE,
        measures="0.1 minus (contrast of the unseen direction / contrast of the seen one)",
        effect=effects.contrast_left("seen", "unseen"),
        threshold=Threshold(0.0, "less than a tenth of the seen direction's contrast"),
    ),
    **robust(
        "reversal_weight_decay",
        "table of settings",
        "at every weight decay of the sweep at which the training sentences are learned",
        {"varies": ("weight_decay",)},
    ),
    "printed_decay_learns": _decays(
        statement="The training sentences are learned with the weight decay that the paper prints.",
        measures="accuracy on them where rate times decay is 0.009, as printed (fraction)",
        effect=effects.at_points(pl.col("train_accuracy"), AS_PRINTED),
        threshold=effects.LEARNS["threshold"],
    ),
    "printed_decay_confident": _decays(
        statement="With the weight decay that the paper prints the right answers become more "
        "probable than all others together, as in the paper's curves, whose loss ends near 0.",
        measures="probability exp(-training loss) where rate times decay is 0.009, as printed",
        effect=effects.at_points((-pl.col("train_nll_token")).exp(), AS_PRINTED),
        threshold=Threshold(0.5, "one half"),
    ),
    "embeddings_near_orthogonal": Claim(
        paper="P1, figure 11",
        statement="Token embeddings stay as orthogonal as random directions.",
        where=UNTIED,
        **SHAPES,
        tables=("embeddings",),
        measures="0.05 minus the mean absolute cosine in excess of random directions",
        effect=_cosine_margin,
        threshold=Threshold(0.0, "within 0.05 of what independent random directions have"),
    ),
}

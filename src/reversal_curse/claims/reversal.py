"""Claims on the reversal experiments: Zhu et al. 2024, section 5 and appendix."""

import polars as pl

from reversal_curse.claims import effects
from reversal_curse.claims.claim import Claim, Fields, Tables, Threshold
from reversal_curse.tables import summaries

REVERSAL = {"task": ("reversal",), "family": ("gpt",)}
LONG = {"entity_length": (2, 3)}
SIZES: Fields = {"varies": ("vocab_size",)}
DEPTHS: Fields = {"varies": ("layers",)}
SHAPES: Fields = {"varies": ("layers", "embed_dim"), "may_vary": ("heads",)}
ENCODINGS: Fields = {"varies": ("pos_encoding",), "may_vary": ("rotary_fraction",)}
LENGTHS: Fields = {"varies": ("entity_length",)}
FROZEN: Fields = {"varies": ("freeze_embeddings",)}
FIGURE_1: Fields = {"paper": "P1, figure 1", "where": REVERSAL}
FIGURE_2: Fields = {"paper": "P1, figure 2", "where": REVERSAL, "tables": ("logits",)}
DECAYS: Fields = {"where": REVERSAL, "varies": ("weight_decay",)}
AS_PRINTED = (pl.col("learning_rate") * pl.col("weight_decay") - 0.01 * 0.9).abs() < 1e-9


def _robust(place: str, what: str, data: Fields, where: dict = REVERSAL) -> Claim:
    statement = f"The reversal curse appears {what}."
    return Claim(f"P1, {place}", statement, where=where, **data, **effects.AT_EVERY_POINT)


def _best_decay(tables: Tables) -> pl.DataFrame:
    """Return the largest gain over a guess at decays that learn, per seed: one decay is enough."""
    above = effects.worst_over_points(effects.ABOVE_CLASS_CHANCE, summaries.LEARNED, 2)
    return above(tables).with_columns(-pl.col("effect"))


def _cosine_margin(tables: Tables) -> pl.DataFrame:
    """Return 0.05 minus the mean |cosine| in excess of random directions, worst point, per seed."""
    used = tables["embeddings"].filter(pl.col("role") != "unused")
    rows = []
    for part in used.partition_by("run", "seed"):
        random = summaries.random_absolute_cosine(part["embed_dim"][0])
        rows.append((part["seed"][0], 0.05 + random - summaries.mean_absolute_cosine(part)))
    by_point = pl.DataFrame(rows, ["seed", "effect"], orient="row")
    return by_point.group_by("seed").agg(pl.col("effect").min())


CLAIMS = {
    "reversal_learned": Claim(
        statement="The training sentences are learned.",
        **FIGURE_1,
        **effects.LEARNS,
    ),
    "reversal_curse": Claim(
        statement="The untrained direction is known no better than by a guess.",
        **FIGURE_1,
        **effects.guessed(),
    ),
    "reversal_vocab": _robust("figure 5", "at every vocabulary size of the sweep", SIZES),
    "reversal_layers": _robust("appendix", "at every depth of the sweep", DEPTHS),
    "reversal_depth_width": _robust("figure 10", "in shallow and in narrow models", SHAPES),
    "reversal_positional": _robust(
        "appendix", "under every positional encoding of the sweep", ENCODINGS
    ),
    "reversal_entity_length": _robust(
        "figure 8", "with entities of several tokens", LENGTHS, REVERSAL | LONG
    ),
    "reversal_frozen": _robust("appendix", "with frozen embeddings as with learned ones", FROZEN),
    "reversal_logits_seen": Claim(
        statement="The logits of the seen direction stand out on the diagonal.",
        **FIGURE_2,
        measures="right minus other logits, validation pairs, seen direction (nats)",
        effect=effects.contrast("seen"),
        threshold=effects.STANDS_OUT,
    ),
    "reversal_logits_unseen": Claim(
        statement="The logits of the unseen direction do not stand out on the diagonal.",
        **FIGURE_2,
        measures="0.1 minus (contrast of the unseen direction / contrast of the seen one)",
        effect=effects.contrast_left("seen", "unseen"),
        threshold=Threshold(0.0, "less than a tenth of the seen direction's contrast"),
    ),
    "reversal_weight_decay": Claim(
        paper="P1, table of settings",
        statement="The reversal curse appears at every weight decay of the sweep at which the "
        "training sentences are learned.",
        **DECAYS,
        **effects.guessed(summaries.LEARNED, points=2, learned=False),
    ),
    "decay_breaks_curse": Claim(
        paper="P1, table of settings; arXiv 2509.21993",
        statement="Later work: strong weight decay breaks the curse. At some decay that learns the "
        "training sentences the unseen direction is known better than by a guess.",
        **DECAYS,
        measures="loss of a guess within the class minus unseen loss (nats), best such decay",
        effect=_best_decay,
        threshold=effects.NO_BETTER,
    ),
    "printed_decay_learns": Claim(
        paper="P1, table of settings",
        statement="The training sentences are learned with the weight decay that the paper prints.",
        **DECAYS,
        measures="probability exp(-training loss) where rate times decay is 0.009, as printed",
        effect=effects.worst_over_points((-pl.col("train_nll_token")).exp(), AS_PRINTED),
        threshold=Threshold(
            0.5,
            "one half: the right answer more probable than all others together, as in the "
            "paper's curves, whose training loss ends near 0",
        ),
    ),
    "embeddings_near_orthogonal": Claim(
        paper="P1, figure 11",
        statement="Token embeddings stay as orthogonal as random directions.",
        where=REVERSAL,
        **SHAPES,
        tables=("embeddings",),
        measures="0.05 minus the mean absolute cosine in excess of random directions, worst point",
        effect=_cosine_margin,
        threshold=Threshold(0.0, "within 0.05 of what independent random directions have"),
    ),
}

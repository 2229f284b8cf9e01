"""Claims on the reversal experiments: Zhu et al. 2024, section 5 and appendix."""

from typing import Any

import polars as pl

from reversal_curse.claims.claim import Claim, Tables
from reversal_curse.claims.effects import (
    ABOVE_CLASS_CHANCE,
    AT_EVERY_POINT,
    HAS_LEARNED,
    NO_BETTER,
    STANDS_OUT,
    TRAIN_ACCURACY,
    best_over_points,
    contrast,
    contrast_left,
    worst_over_points,
)
from reversal_curse.tables.summaries import mean_absolute_cosine, random_absolute_cosine

AS_PRINTED = (pl.col("learning_rate") * pl.col("weight_decay") - 0.01 * 0.9).abs() < 1e-9
TRAINED_ANSWER = (-pl.col("train_nll_token")).exp()
WORST = "loss of the unseen direction minus that of a guess in the class (nats), worst point"
REVERSAL = {"task": ("reversal",), "family": ("gpt",)}
LONG = {"entity_length": (2, 3)}
SIZES: dict[str, Any] = {"varies": ("vocab_size",)}
FROZEN: dict[str, Any] = {"varies": ("freeze_embeddings",)}
LENGTHS: dict[str, Any] = {"varies": ("entity_length",)}
ENCODINGS: dict[str, Any] = {"varies": ("pos_encoding",), "may_vary": ("rotary_fraction",)}
SHAPES: dict[str, Any] = {"varies": ("layers", "embed_dim"), "may_vary": ("heads",)}


def _robust(name: str, paper: str, what: str, where: dict = REVERSAL, **data: Any) -> Claim:
    return Claim(
        id=f"reversal_{name}",
        paper=paper,
        statement=f"The reversal curse appears {what}.",
        where=where,
        measures=WORST,
        **AT_EVERY_POINT,
        **data,
    )


def _cosine_margin(tables: Tables) -> pl.DataFrame:
    """0.05 minus the mean absolute cosine in excess of random directions, worst point, per seed."""
    used = tables["embeddings"].filter(pl.col("role") != "unused")
    rows = []
    for part in used.partition_by("run", "seed"):
        random = random_absolute_cosine(part["embed_dim"][0])
        rows.append((part["seed"][0], 0.05 + random - mean_absolute_cosine(part)))
    by_point = pl.DataFrame(rows, ["seed", "effect"], orient="row")
    return by_point.group_by("seed").agg(pl.col("effect").min())


CLAIMS = (
    Claim(
        id="reversal_learned",
        paper="P1, figure 1",
        statement="The training sentences are learned.",
        where=REVERSAL,
        measures="accuracy on the training sentences (fraction)",
        effect=worst_over_points(TRAIN_ACCURACY),
        threshold=0.95,
        because="95 % of the answers right",
    ),
    Claim(
        id="reversal_curse",
        paper="P1, figure 1",
        statement="The direction that was not trained is known no better than by a guess.",
        where=REVERSAL,
        measures="loss of the unseen direction minus that of a guess within the class (nats)",
        effect=worst_over_points(ABOVE_CLASS_CHANCE, once_learned=True),
        threshold=0.0,
        because=NO_BETTER,
    ),
    _robust("vocab", "P1, figure 5", "at every vocabulary size of the sweep", **SIZES),
    _robust("layers", "P1, appendix", "at every depth of the sweep", varies=("layers",)),
    _robust("depth_width", "P1, figure 10", "in shallow and in narrow models", **SHAPES),
    _robust(
        "positional", "P1, appendix", "under every positional encoding of the sweep", **ENCODINGS
    ),
    _robust(
        "entity_length",
        "P1, figure 8",
        "with entities of several tokens",
        REVERSAL | LONG,
        **LENGTHS,
    ),
    _robust("frozen", "P1, appendix", "with frozen embeddings as with learned ones", **FROZEN),
    Claim(
        id="reversal_logits_seen",
        paper="P1, figure 2",
        statement="The logits of the seen direction stand out on the diagonal.",
        where=REVERSAL,
        tables=("logits",),
        measures="right minus other logits, validation pairs, seen direction (nats)",
        effect=contrast("seen"),
        threshold=STANDS_OUT,
        because="ln 20: one answer as likely as twenty others together",
    ),
    Claim(
        id="reversal_logits_unseen",
        paper="P1, figure 2",
        statement="The logits of the unseen direction do not stand out on the diagonal.",
        where=REVERSAL,
        tables=("logits",),
        measures="a tenth, minus the contrast of the unseen direction over that of the seen one",
        effect=contrast_left("seen", "unseen"),
        threshold=0.0,
        because="less than a tenth of the seen direction's contrast",
    ),
    Claim(
        id="reversal_weight_decay",
        paper="P1, table of settings",
        statement="The reversal curse appears at every weight decay of the sweep at which the "
        "training sentences are learned.",
        where=REVERSAL,
        varies=("weight_decay",),
        measures=WORST,
        effect=worst_over_points(ABOVE_CLASS_CHANCE, HAS_LEARNED, least_points=2),
        threshold=0.0,
        because=NO_BETTER,
    ),
    Claim(
        id="decay_breaks_curse",
        paper="P1, table of settings; arXiv 2509.21993",
        statement="Later work: strong weight decay breaks the curse. At some decay of the sweep "
        "the training sentences are learned and the unseen direction is known better than by a "
        "guess.",
        where=REVERSAL,
        varies=("weight_decay",),
        measures="loss of a guess in the class minus that of the unseen direction (nats), best "
        "decay that learns the training sentences",
        effect=best_over_points(-ABOVE_CLASS_CHANCE, HAS_LEARNED, least_points=2),
        threshold=0.0,
        because=NO_BETTER,
    ),
    Claim(
        id="printed_decay_learns",
        paper="P1, table of settings",
        statement="With the weight decay that the paper's table prints, the training sentences "
        "are learned.",
        where=REVERSAL,
        varies=("weight_decay",),
        measures="probability of the right answer, exp of minus the training loss, where rate "
        "times decay is 0.009, as printed",
        effect=worst_over_points(TRAINED_ANSWER, AS_PRINTED),
        threshold=0.5,
        because="one half: the right answer more probable than all others together, as in the "
        "paper's curves, whose training loss ends near 0",
    ),
    Claim(
        id="embeddings_near_orthogonal",
        paper="P1, figure 11",
        statement="Token embeddings stay as orthogonal as random directions.",
        where=REVERSAL,
        **SHAPES,
        tables=("embeddings",),
        measures="0.05 minus the mean absolute cosine in excess of random directions, worst point",
        effect=_cosine_margin,
        threshold=0.0,
        because="within 0.05 of what independent random directions have",
    ),
)

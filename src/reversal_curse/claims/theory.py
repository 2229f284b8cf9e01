"""Claims on the theory of the bilinear model: Zhu et al. 2024, section 3."""

import math
from functools import partial

import polars as pl

from reversal_curse.claims import effects
from reversal_curse.claims.claim import Claim, Tables, Threshold
from reversal_curse.config.settings import NAMES, Settings
from reversal_curse.tables.summaries import (
    LEARNED_ACCURACY,
    exponent_slopes,
    exponents,
    first_passage,
)
from reversal_curse.tasks import TASKS

_bilinear = partial(
    Claim,
    where={"family": ("bilinear",), "loss": ("cross_entropy",)},
    varies=("embed_dim",),
    tables=("separation",),
)


def _learning(separation: pl.DataFrame) -> pl.DataFrame:
    """Pick the rows of seeds whose trained direction ends below its loss before training."""
    epoch = pl.col("epoch")
    ends = (epoch == 0) | (epoch == epoch.max())
    means = separation.filter(ends).group_by("embed_dim", "seed", "epoch")
    means = means.agg(pl.col("nll_forward").mean()).sort("epoch")
    loss, keys = pl.col("nll_forward"), ["embed_dim", "seed"]
    fell = means.group_by(keys).agg(fell=loss.last() < loss.first()).filter("fell")
    return separation.join(fell, on=keys, how="semi")


def _exponents(tables: Tables) -> pl.DataFrame:
    """Return `embed_dim`, `seed`, `exponent`, null for a seed that did not learn."""
    table = tables["separation"]
    keys = ["embed_dim", "seed"]
    every = table.select(keys).unique().sort(keys)
    return every.join(exponents(_learning(table)), on=keys, how="left")


def _bound_bites(tables: Tables) -> pl.DataFrame:
    found = _exponents(tables)
    return found.select("seed", run=pl.format("d={}", "embed_dim"), effect=1 - pl.col("exponent"))


def _trend(tables: Tables) -> pl.DataFrame:
    """Return minus the least-squares slope of the exponent against log2 d, per seed."""
    found = _exponents(tables).with_columns(x=pl.col("embed_dim").log(2))
    return effects.slope(found, "x", "exponent").with_columns(-pl.col("effect"))


def _log_slope(tables: Tables) -> pl.DataFrame:
    """Return minus the least-squares slope of ln exponent against ln d, less 1/2, per seed."""
    table = tables["separation"]
    found = effects.by_seed(table, exponent_slopes(_learning(table)))
    return found.select("seed", effect=-pl.col("slope") - 0.5)


@effects.effect_of
def _first_passage(tables: Tables, level: float) -> pl.DataFrame:
    """Return the reverse loss at first passage minus ln(m / 2), for m tokens and the largest d."""
    table = tables["separation"].filter(pl.col("embed_dim") == pl.col("embed_dim").max())
    points = [Settings.model_construct(**p) for p in table.select(NAMES).unique().to_dicts()]
    tokens = max(TASKS[point.task].vocabulary(point) for point in points)
    above = pl.col("nll_reverse").mean() - math.log(tokens / 2)
    found = first_passage(_learning(table), level).group_by("seed").agg(effect=above)
    return effects.by_seed(table, found)


def any_loss(family: str, words: str, check: str = "") -> Claim:
    """Return a claim that no loss function lets a model know the held-out direction."""
    learned = pl.col("train_accuracy") >= LEARNED_ACCURACY
    return Claim(
        paper="ours; P1 proves it for cross-entropy",
        statement=f"Whatever the loss, cross-entropy, Brier score or hinge loss, {words} that "
        "learns the trained direction does not know the held-out one.",
        where={"task": ("reversal",), "family": (family,)},
        varies=("loss",),
        measures="rank of the right answer among the candidates, with every loss",
        effect=effects.at_points(pl.when(learned).then("unseen_rank_choice")),
        threshold=effects.CHANCE,
        check=check,
        points=3,
    )


CLAIMS = {
    "bilinear_separation": _bilinear(
        paper="P1, section 3, separation theorem",
        statement="L_rev(t) / L_rev(0) >= (L(t) / L(0))^eps for all t, with eps below 1.",
        measures="1 minus the smallest exponent that holds for all t and pairs, at every d",
        effect=_bound_bites,
        threshold=Threshold(0.0, "an exponent of 1 would mean that the reverse is learned as fast"),
        remark="The exponent is attained in the first steps, so it measures how fast the reverse "
        "loss falls in the beginning.",
    ),
    "bilinear_exponent_shrinks": _bilinear(
        paper="P1, section 3, separation theorem",
        statement="The eps of the bound L_rev(t) / L_rev(0) >= (L(t) / L(0))^eps shrinks as the "
        "embedding dimension d grows.",
        measures="decrease of the exponent per doubling of d",
        effect=_trend,
        threshold=Threshold(0.0, "0: no trend"),
    ),
    "bilinear_exponent_rate": _bilinear(
        paper="P1, section 3, separation theorem; the rate is ours",
        statement="The eps of the bound L_rev(t) / L_rev(0) >= (L(t) / L(0))^eps shrinks at least "
        "as fast as d^(-1/2), the overlap of random embeddings.",
        measures="minus the slope of ln eps against ln d, less 1/2",
        effect=_log_slope,
        threshold=Threshold(0.0, "a slope of -1/2"),
    ),
    **{
        f"bilinear_first_passage_{name}": _bilinear(
            paper="P1, section 3, lower bound",
            statement=f"When the forward loss first falls below {level}, the reverse loss is "
            "still at least ln(m / 2), m the number of tokens.",
            measures="mean reverse loss at first passage minus ln(m / 2) at the largest d (nats)",
            effect=_first_passage(level),
            threshold=Threshold(0.0, "the theorem's largest C, log(m / 2)"),
        )
        for name, level in (("1", 1.0), ("01", 0.1), ("001", 0.01))
    },
    "bilinear_any_loss": any_loss("bilinear", "the bilinear model"),
}

"""Effects and thresholds that many claims share: from tables to one number per seed."""

import math
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import polars as pl

from reversal_curse.claims.claim import Effect, Fields, Tables, Threshold
from reversal_curse.tables.summaries import LEARNED, final_by_seed, logit_contrast

ANY = pl.lit(True)
ABOVE_CLASS_CHANCE = pl.col("unseen_nll_token") - pl.col("chance_class")
OWN_COSINE = pl.col("cosine") - pl.col("cosine_control")
"""The cosine of a fact's two gradients, minus that with another fact's answer."""

NO_BETTER = Threshold(0.0, "0: the level of a guess among the entities of the right class")
STANDS_OUT = Threshold(math.log(20), "ln 20: one answer as likely as twenty others together")
EQUAL = Threshold(0.0, "0: equal probabilities")
ALIGNED = Threshold(0.0, "0: no better than with the answer of another fact")
NOT_ALIGNED = Threshold(0.0, "less than 0.1 better than with the answer of another fact")
FIRST_ORDER = Threshold(0.0, "within a tenth, for steps that lower the forward loss by one percent")

Given = ParamSpec("Given")


def effect_of(
    judged: Callable[Concatenate[Tables, Given], pl.DataFrame],
) -> Callable[Given, Effect]:
    """Let `judged` be called in two steps: first with all other arguments, then the tables."""
    return lambda *given, **named: lambda tables: judged(tables, *given, **named)


def smallest(rows: pl.DataFrame, value: pl.Expr) -> pl.DataFrame:
    """Return the smallest `value` per seed, or NaN if one is NaN (polars' own `min` skips it)."""
    least = pl.when(value.is_nan().any()).then(float("nan")).otherwise(value.min())
    return rows.group_by("seed").agg(effect=least)


@effect_of
def worst_over_points(
    tables: Tables, value: pl.Expr, where: pl.Expr = ANY, points: int = 1, learned: bool = False
) -> pl.DataFrame:
    """Return the smallest `value` over a sweep's grid points, per seed; NaN if one diverged.

    `value` is an expression over the columns of `final_by_seed`: a claim about several grid
    points holds only if it holds at every one of them. With fewer than `points` grid points
    there is nothing to compare, so no rows. `learned` leaves out the grid points at which a
    seed did not learn its training set: what an untrained model does not know is not a curse.
    """
    final = final_by_seed(tables["metrics"]).filter(where)
    if learned:
        final = final.filter(LEARNED | pl.col("train_nll_token").is_nan())
    return smallest(final.filter(pl.len().over("seed") >= points), value)


def slope(rows: pl.DataFrame, x: str, y: str) -> pl.DataFrame:
    """Return the least-squares slope of `y` against `x`, per seed with three values of `x`."""
    enough = rows.filter(pl.col(x).n_unique().over("seed") >= 3)
    return enough.group_by("seed").agg(effect=pl.cov(x, y) / pl.col(x).var())


@effect_of
def mean_difference(
    tables: Tables, name: str, value: pl.Expr, higher: pl.Expr, lower: pl.Expr
) -> pl.DataFrame:
    """Return the mean `value` of `higher` rows minus that of `lower`, per seed with both."""
    rows = final_by_seed(tables[name]) if name == "metrics" else tables[name]
    means = value.filter(higher).mean() - value.filter(lower).mean()
    return rows.group_by("seed").agg(effect=means).drop_nulls()


@effect_of
def contrast(tables: Tables, group: str) -> pl.DataFrame:
    """Return the logit contrast of a group, asked as in training: with entity and relation."""
    part = tables["logits"].filter(group=group, readout="entity_relation")
    return logit_contrast(part).select("seed", effect="contrast")


@effect_of
def contrast_left(tables: Tables, seen: str, unseen: str) -> pl.DataFrame:
    """Return 0.1 minus (contrast of the unseen group / contrast of the seen one), per seed.

    Seeds whose seen group does not stand out are left out: there is nothing to compare with.
    """
    both = contrast(seen)(tables).join(contrast(unseen)(tables), on="seed", suffix="_unseen")
    both = both.filter(pl.col("effect") >= STANDS_OUT.value)
    return both.select("seed", effect=0.1 - pl.col("effect_unseen") / pl.col("effect"))


def guessed(where: pl.Expr = ANY, points: int = 1, learned: bool = True) -> Fields:
    """Return the fields of a claim that unseen sentences are a guess at all points of `where`."""
    return {
        "measures": "unseen loss minus that of a guess within the class (nats), worst point",
        "effect": worst_over_points(ABOVE_CLASS_CHANCE, where, points, learned),
        "threshold": NO_BETTER,
    }


LEARNS: Fields = {
    "measures": "accuracy on the training sentences (fraction)",
    "effect": worst_over_points(pl.col("train_accuracy")),
    "threshold": Threshold(0.95, "95 % of the answers right"),
}
AT_EVERY_POINT = guessed(points=2)

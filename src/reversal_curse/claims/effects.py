"""Effects that many claims share: from tables to one number per seed."""

import math
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

import polars as pl

from reversal_curse.claims.claim import Effect, Tables
from reversal_curse.tables.summaries import LEARNED as HAS_LEARNED
from reversal_curse.tables.summaries import final_by_seed, logit_contrast

ANY = pl.lit(True)
STANDS_OUT = math.log(20)
"""Contrast (nats) from which on a logit stands out: as likely as twenty others together."""
TRAIN_ACCURACY = pl.col("train_accuracy")
ABOVE_CLASS_CHANCE = pl.col("unseen_nll_token") - pl.col("chance_class")
REVERSE_ACCURACY = pl.col("unseen_accuracy")
NO_BETTER = "0: the level of a guess among the entities of the right class"
Given = ParamSpec("Given")


def effect_of(
    judged: Callable[Concatenate[Tables, Given], pl.DataFrame],
) -> Callable[Given, Effect]:
    """Call `judged` in two steps: the first takes what follows the tables, the second these."""
    return lambda *given, **named: lambda tables: judged(tables, *given, **named)


def smallest(column: str) -> pl.Expr:
    """The smallest value of a column; NaN where any is: polars' own `min` would leave it out."""
    value = pl.col(column)
    return pl.when(value.is_nan().any()).then(float("nan")).otherwise(value.min())


@effect_of
def worst_over_points(
    tables: Tables,
    value: pl.Expr,
    where: pl.Expr = ANY,
    least_points: int = 1,
    once_learned: bool = False,
) -> pl.DataFrame:
    """The smallest `value` over the grid points of a sweep, per seed; NaN where one diverged.

    `value` is an expression over the columns of `final_by_seed`; so a claim about several
    grid points holds only where it holds at every one of them. With fewer than
    `least_points` grid points there is nothing to compare, and no rows. With `once_learned`,
    grid points whose training set a seed did not learn are left out for that seed: what an
    untrained model does not know is no curse.
    """
    final = final_by_seed(tables["metrics"]).filter(where).with_columns(effect=value)
    if once_learned:
        final = final.filter(HAS_LEARNED | pl.col("train_nll_token").is_nan())
    by_seed = final.group_by("seed").agg(points=pl.len(), effect=smallest("effect"))
    return by_seed.filter(pl.col("points") >= least_points).select("seed", "effect")


@effect_of
def best_over_points(
    tables: Tables, value: pl.Expr, where: pl.Expr = ANY, least_points: int = 1
) -> pl.DataFrame:
    """The largest `value` over grid points, per seed: for claims that one of them is enough for."""
    of_negative = worst_over_points(-value, where, least_points)
    return of_negative(tables).with_columns(-pl.col("effect"))


def difference_of(by_seed: pl.DataFrame, higher: str, lower: str) -> pl.DataFrame:
    """One column minus another, of the seeds that have both."""
    both = by_seed.drop_nulls([higher, lower])
    return both.select("seed", effect=pl.col(higher) - pl.col(lower))


@effect_of
def difference(tables: Tables, value: pl.Expr, higher: pl.Expr, lower: pl.Expr) -> pl.DataFrame:
    """Mean of `value` at the points that meet `higher` minus that at `lower`, per seed."""
    of_points = final_by_seed(tables["metrics"]).with_columns(value=value).group_by("seed")
    means = {
        name: pl.col("value").filter(where).mean()
        for name, where in {"higher": higher, "lower": lower}.items()
    }
    return difference_of(of_points.agg(**means), "higher", "lower")


@effect_of
def contrast(tables: Tables, group: str) -> pl.DataFrame:
    """The logit contrast of one group of queries, read as trained: entity and relation."""
    as_trained = pl.col("readout") == "entity_relation"
    part = tables["logits"].filter(pl.col("group") == group, as_trained)
    return logit_contrast(part).select("seed", effect="contrast")


@effect_of
def contrast_left(tables: Tables, seen: str, unseen: str) -> pl.DataFrame:
    """A tenth, minus the contrast of the unseen group over that of the seen one, per seed.

    Seeds whose seen group does not stand out are left out: there is nothing to compare with.
    """
    both = contrast(seen)(tables).join(contrast(unseen)(tables), on="seed", suffix="_unseen")
    both = both.filter(pl.col("effect") >= STANDS_OUT)
    return both.select("seed", effect=0.1 - pl.col("effect_unseen") / pl.col("effect"))


AT_EVERY_POINT: dict[str, Any] = {
    "effect": worst_over_points(ABOVE_CLASS_CHANCE, least_points=2, once_learned=True),
    "threshold": 0.0,
    "because": NO_BETTER,
}
"""Of a claim that the unseen is a guess at every one of several grid points."""

"""Effects that many claims share: from tables to one number per seed."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from reversal_curse.analysis import final_by_seed
from reversal_curse.claims.claim import Tables

ANY = pl.lit(True)


ENOUGH_LEARNED = 0.95
"""Training accuracy (fraction) from which on a missing generalisation says something."""


def worst_over_points(
    value: pl.Expr, where: pl.Expr = ANY, least_points: int = 1, once_learned: bool = False
) -> Callable[[Tables], pl.DataFrame]:
    """The smallest `value` over the grid points of a sweep, per seed.

    `value` is an expression over the columns of `final_by_seed`; so a claim about several
    grid points holds only where it holds at every one of them. With fewer than
    `least_points` grid points there is nothing to compare, and no rows. With `once_learned`,
    seeds that did not learn the training set at every one of them are left out: what an
    untrained model does not know is no curse.
    """

    def effect(tables: Tables) -> pl.DataFrame:
        final = final_by_seed(tables["metrics"]).filter(where).with_columns(effect=value)
        by_seed = final.group_by("seed").agg(
            pl.len().alias("points"),
            pl.col("effect").min(),
            pl.col("train_accuracy").min().alias("learned"),
        )
        enough = pl.col("points") >= least_points
        if once_learned:
            enough &= pl.col("learned") >= ENOUGH_LEARNED
        return by_seed.filter(enough).select("seed", "effect")

    return effect


def difference(value: pl.Expr, higher: pl.Expr, lower: pl.Expr) -> Callable[[Tables], pl.DataFrame]:
    """Mean of `value` at the points that meet `higher` minus that at `lower`, per seed."""

    def effect(tables: Tables) -> pl.DataFrame:
        final = final_by_seed(tables["metrics"]).with_columns(value=value)
        by_seed = final.group_by("seed").agg(
            pl.col("value").filter(higher).mean().alias("higher"),
            pl.col("value").filter(lower).mean().alias("lower"),
        )
        both = by_seed.drop_nulls()
        return both.select("seed", effect=pl.col("higher") - pl.col("lower"))

    return effect


LEARNED = pl.col("train_accuracy")
ABOVE_CLASS_CHANCE = pl.col("unseen_nll_token") - pl.col("chance_class")
REVERSE_ACCURACY = pl.col("unseen_accuracy")

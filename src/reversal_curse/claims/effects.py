"""Effects that many claims share: from tables to one number per seed."""

from __future__ import annotations

import math
from collections.abc import Callable

import polars as pl

from reversal_curse.analysis import LEARNED as HAS_LEARNED
from reversal_curse.analysis import final_by_seed, logit_contrast
from reversal_curse.claims.claim import Tables

ANY = pl.lit(True)
STANDS_OUT = math.log(20)
"""Contrast (nats) from which on a logit stands out: as likely as twenty others together."""


def smallest(column: str) -> pl.Expr:
    """The smallest value of a column; NaN where any is: polars' own `min` would leave it out."""
    value = pl.col(column)
    return pl.when(value.is_nan().any()).then(float("nan")).otherwise(value.min())


def worst_over_points(
    value: pl.Expr, where: pl.Expr = ANY, least_points: int = 1, once_learned: bool = False
) -> Callable[[Tables], pl.DataFrame]:
    """The smallest `value` over the grid points of a sweep, per seed; NaN where one diverged.

    `value` is an expression over the columns of `final_by_seed`; so a claim about several
    grid points holds only where it holds at every one of them. With fewer than
    `least_points` grid points there is nothing to compare, and no rows. With `once_learned`,
    grid points whose training set a seed did not learn are left out for that seed: what an
    untrained model does not know is no curse.
    """

    def effect(tables: Tables) -> pl.DataFrame:
        final = final_by_seed(tables["metrics"]).filter(where).with_columns(effect=value)
        if once_learned:
            final = final.filter(HAS_LEARNED | pl.col("train_nll_token").is_nan())
        by_seed = final.group_by("seed").agg(
            pl.len().alias("points"), smallest("effect").alias("effect")
        )
        return by_seed.filter(pl.col("points") >= least_points).select("seed", "effect")

    return effect


def best_over_points(
    value: pl.Expr, where: pl.Expr = ANY, least_points: int = 1
) -> Callable[[Tables], pl.DataFrame]:
    """The largest `value` over grid points, per seed: for claims that one of them is enough for."""
    of_negative = worst_over_points(-value, where, least_points)

    def effect(tables: Tables) -> pl.DataFrame:
        return of_negative(tables).with_columns(-pl.col("effect"))

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


TRAIN_ACCURACY = pl.col("train_accuracy")
ABOVE_CLASS_CHANCE = pl.col("unseen_nll_token") - pl.col("chance_class")
REVERSE_ACCURACY = pl.col("unseen_accuracy")


def contrast(tables: Tables, group: str) -> pl.DataFrame:
    """The logit contrast of one group of queries, read as trained: entity and relation."""
    as_trained = pl.col("readout") == "entity_relation"
    part = tables["logits"].filter(pl.col("group") == group, as_trained)
    return logit_contrast(part).select("seed", effect="contrast")


def contrast_left(seen: str, unseen: str) -> Callable[[Tables], pl.DataFrame]:
    """A tenth, minus the contrast of the unseen group over that of the seen one, per seed.

    Seeds whose seen group does not stand out are left out: there is nothing to compare with.
    """

    def effect(tables: Tables) -> pl.DataFrame:
        both = contrast(tables, seen).join(contrast(tables, unseen), on="seed", suffix="_unseen")
        both = both.filter(pl.col("effect") >= STANDS_OUT)
        return both.select("seed", effect=0.1 - pl.col("effect_unseen") / pl.col("effect"))

    return effect

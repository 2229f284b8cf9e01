"""Effects and thresholds that many claims share: from tables to one number per seed."""

import math
from collections.abc import Callable
from typing import Any

import polars as pl

from reversal_curse.claims.claim import Claim, Effect, Fields, Tables, Threshold
from reversal_curse.tables.summaries import LEARNED, final_by_seed, logit_contrast, slopes

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
ANSWERED = Threshold(0.9, "90 % of the answers right")
CHANCE = Threshold(0.45, "0.5 is a guess; the interval must lie within 0.05 of it", 0.55)


def effect_of(judged: Callable[..., pl.DataFrame]) -> Callable[..., Effect]:
    """Let `judged` be called in two steps: first with all other arguments, then the tables."""
    return lambda *given, **named: lambda tables: judged(tables, *given, **named)


@effect_of
def at_points(
    tables: Tables, value: pl.Expr, where: pl.Expr = ANY, learned: bool = False
) -> pl.DataFrame:
    """Return `value` of every grid point of `where` and seed, after the last epoch.

    `value` is an expression over the columns of `final_by_seed`. `learned`: only seeds that
    learned the training set count; what an untrained model does not know is not a curse.
    """
    final = final_by_seed(tables["metrics"]).filter(where)
    counts = LEARNED if learned else ANY
    return final.select("run", "seed", effect=pl.when(counts).then(value))


def slope(rows: pl.DataFrame, x: str, y: str) -> pl.DataFrame:
    """Return the least-squares slope of `y` against `x`, per seed with three values of `x`."""
    return by_seed(rows, slopes(rows, x, y, 3).rename({"slope": "effect"}))


def by_seed(rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return what was found for every seed of `rows`, null for one without."""
    return rows.select("seed").unique().join(found, on="seed", how="left")


@effect_of
def mean_difference(
    tables: Tables, name: str, value: pl.Expr, higher: pl.Expr, lower: pl.Expr
) -> pl.DataFrame:
    """Return the mean `value` of `higher` rows minus that of `lower`, per seed with both."""
    rows = final_by_seed(tables[name]) if name == "metrics" else tables[name]
    means = value.filter(higher).mean() - value.filter(lower).mean()
    return rows.group_by("seed").agg(effect=means)


@effect_of
def contrast(tables: Tables, group: str) -> pl.DataFrame:
    """Return the logit contrast of a group, asked as in training: with entity and relation."""
    part = tables["logits"].filter(group=group, readout="entity_relation")
    return logit_contrast(part).select("seed", effect="contrast")


@effect_of
def contrast_left(tables: Tables, seen: str, unseen: str) -> pl.DataFrame:
    """Return 0.1 minus (contrast of the unseen group / contrast of the seen one), per seed.

    Seeds whose seen group does not stand out do not count: there is nothing to compare with.
    """
    both = contrast(seen)(tables).join(contrast(unseen)(tables), on="seed", suffix="_unseen")
    left = 0.1 - pl.col("effect_unseen") / pl.col("effect")
    return both.select("seed", effect=pl.when(pl.col("effect") > STANDS_OUT.above).then(left))


def guessed(where: pl.Expr = ANY, points: int = 1) -> Fields:
    """Return the fields of a claim that unseen sentences are said no better than by a guess."""
    return {
        "measures": "unseen loss minus that of a guess within the class (nats)",
        "effect": at_points(ABOVE_CLASS_CHANCE, where, learned=True),
        "threshold": NO_BETTER,
        "points": points,
    }


def answered(what: str, where: pl.Expr = ANY, learned: bool = False) -> Fields:
    """Return the fields of a claim that unseen sentences are said right."""
    return {
        "measures": f"accuracy {what} (fraction)",
        "effect": at_points(pl.col("unseen_accuracy"), where, learned),
        "threshold": ANSWERED,
    }


def unknown(where: pl.Expr = ANY) -> Fields:
    """Return the fields of a claim that it is not known which answer is right: an equivalence."""
    ranks = at_points(pl.col("unseen_rank_choice"), where, learned=True)
    return {
        "measures": "rank of the right answer among the candidates, mean over the grid points "
        "that a seed learned",
        "effect": lambda tables: ranks(tables).group_by("seed").agg(pl.col("effect").mean()),
        "threshold": CHANCE,
    }


def known(where: pl.Expr = ANY) -> Fields:
    """Return the fields of a claim that the right one among the candidates is chosen."""
    return {
        "measures": "accuracy among the candidates (fraction)",
        "effect": at_points(pl.col("unseen_accuracy_choice"), where, learned=True),
        "threshold": ANSWERED,
    }


LEARNS: Fields = {
    "measures": "accuracy on the training sentences (fraction)",
    "effect": at_points(pl.col("train_accuracy")),
    "threshold": Threshold(0.95, "95 % of the answers right"),
}


def both_readings(name: str, paper: str, said: str, not_known: str, **data: Any) -> dict:
    """Return two claims about one sweep: what is said, as the paper measures it, and known."""
    return {
        name: Claim(paper, f"{said}.", **guessed(points=2), **data),
        f"{name}_unknown": Claim(
            f"{paper}; measure ours", f"{not_known}, on average.", **unknown(), **data
        ),
    }

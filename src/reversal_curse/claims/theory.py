"""Claims on the theory of the bilinear model: Zhu et al. 2024, section 3."""

import math

import polars as pl

from reversal_curse.claims import effects
from reversal_curse.claims.claim import Claim, Fields, Tables, Threshold
from reversal_curse.config.settings import NAMES, Settings
from reversal_curse.tables.summaries import exponents, first_passage
from reversal_curse.tasks import TASKS

BILINEAR: Fields = {
    "where": {"family": ("bilinear",)},
    "varies": ("embed_dim",),
    "tables": ("separation",),
}


def _bound_bites(tables: Tables) -> pl.DataFrame:
    largest = pl.col("exponent").max()
    return exponents(tables["separation"]).group_by("seed").agg(effect=1 - largest)


def _trend(tables: Tables) -> pl.DataFrame:
    """Return minus the least-squares slope of the exponent against log2 d, per seed."""
    found = exponents(tables["separation"]).with_columns(x=pl.col("embed_dim").log(2))
    return effects.slope(found, "x", "exponent").with_columns(-pl.col("effect"))


@effects.effect_of
def _first_passage(tables: Tables, level: float) -> pl.DataFrame:
    """Return the reverse loss at first passage minus ln(m / 2), for m tokens and the largest d."""
    table = tables["separation"]
    largest = table.filter(pl.col("embed_dim") == pl.col("embed_dim").max())
    points = [Settings.model_construct(**p) for p in largest.select(NAMES).unique().to_dicts()]
    tokens = max(TASKS[point.task].vocabulary(point) for point in points)
    above = pl.col("nll_reverse").mean() - math.log(tokens / 2)
    return first_passage(largest, level).group_by("seed").agg(effect=above)


CLAIMS = {
    "bilinear_separation": Claim(
        paper="P1, section 3, separation theorem",
        statement="L_rev(t) / L_rev(0) >= (L(t) / L(0))^eps for all t, with eps below 1.",
        **BILINEAR,
        measures="1 minus the smallest exponent that holds for all t, pairs and dimensions",
        effect=_bound_bites,
        threshold=Threshold(0.0, "an exponent of 1 would mean that the reverse is learned as fast"),
    ),
    "bilinear_exponent_shrinks": Claim(
        paper="P1, section 3, separation theorem",
        statement="The eps of the bound L_rev(t) / L_rev(0) >= (L(t) / L(0))^eps shrinks as the "
        "embedding dimension d grows.",
        **BILINEAR,
        measures="decrease of the exponent per doubling of d",
        effect=_trend,
        threshold=Threshold(0.0, "0: no trend"),
    ),
    **{
        f"bilinear_first_passage_{name}": Claim(
            paper="P1, section 3, lower bound",
            statement=f"When the forward loss first falls below {level}, the reverse loss is "
            "still at least ln(m / 2), m the number of tokens.",
            **BILINEAR,
            measures="mean reverse loss at first passage minus ln(m / 2) at the largest d (nats)",
            effect=_first_passage(level),
            threshold=Threshold(0.0, "the theorem's largest C, log(m / 2)"),
        )
        for name, level in (("1", 1.0), ("01", 0.1), ("001", 0.01))
    },
}

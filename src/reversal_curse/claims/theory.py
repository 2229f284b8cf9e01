"""Claims on the theory of the bilinear model: Zhu et al. 2024, section 3."""

import math
from typing import Any

import polars as pl

from reversal_curse.claims.claim import Claim, Tables
from reversal_curse.claims.effects import effect_of
from reversal_curse.config.settings import NAMES, Settings
from reversal_curse.tables.summaries import exponents, first_passage
from reversal_curse.tasks import TASKS

BILINEAR: dict[str, Any] = {
    "where": {"family": ("bilinear",)},
    "varies": ("embed_dim",),
    "tables": ("separation",),
}
DIMENSIONS = 3
"""How many embedding dimensions it takes to speak of a trend."""


def _bound_bites(tables: Tables) -> pl.DataFrame:
    found = exponents(tables["separation"])
    return found.group_by("seed").agg(effect=1 - pl.col("exponent").max())


def _trend(tables: Tables) -> pl.DataFrame:
    """Minus the least-squares slope of the exponent against log2 d, per seed."""
    found = exponents(tables["separation"]).with_columns(x=pl.col("embed_dim").log(2))
    slope = pl.cov("x", "exponent") / pl.col("x").var()
    by_seed = found.group_by("seed").agg(pl.len().alias("dimensions"), effect=-slope)
    return by_seed.filter(pl.col("dimensions") >= DIMENSIONS).select("seed", "effect")


@effect_of
def _first_passage(tables: Tables, level: float) -> pl.DataFrame:
    """Reverse loss minus ln(m / 2) at first passage, mean over pairs, at the largest d."""
    table = tables["separation"]
    largest = table.filter(pl.col("embed_dim") == pl.col("embed_dim").max())
    tokens = max(_tokens(point) for point in largest.select(NAMES).unique().to_dicts())
    above = pl.col("nll_reverse").mean() - math.log(tokens / 2)
    return first_passage(largest, level).group_by("seed").agg(effect=above)


def _tokens(point: dict) -> int:
    """The number m of tokens that a grid point's model knows."""
    settings = Settings.model_construct(**point)
    return TASKS[settings.task].vocabulary(settings)


CLAIMS = (
    Claim(
        id="bilinear_separation",
        paper="P1, section 3, separation theorem",
        statement="L_rev(t) / L_rev(0) >= (L(t) / L(0))^eps for all t, with eps below 1.",
        **BILINEAR,
        measures="1 minus the smallest exponent that holds for all t, pairs and dimensions",
        effect=_bound_bites,
        threshold=0.0,
        because="an exponent of 1 would mean that the reverse is learned as fast",
    ),
    Claim(
        id="bilinear_exponent_shrinks",
        paper="P1, section 3, separation theorem",
        statement="The eps of the bound L_rev(t) / L_rev(0) >= (L(t) / L(0))^eps shrinks as the "
        "embedding dimension d grows.",
        **BILINEAR,
        measures="decrease of the exponent per doubling of d",
        effect=_trend,
        threshold=0.0,
        because="0: no trend",
    ),
    *(
        Claim(
            id=f"bilinear_first_passage_{name}",
            paper="P1, section 3, lower bound",
            statement=f"When the forward loss first falls below {level}, the reverse loss is "
            "still at least ln(m / 2), m the number of tokens.",
            **BILINEAR,
            measures="mean reverse loss at first passage minus ln(m / 2) at the largest d (nats)",
            effect=_first_passage(level),
            threshold=0.0,
            because="the theorem's largest C, log(m / 2)",
        )
        for name, level in (("1", 1.0), ("01", 0.1), ("001", 0.01))
    ),
)

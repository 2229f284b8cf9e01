"""Claims on why masked diffusion answers in reverse: Jeon et al. 2026."""

from typing import Any

import polars as pl

from reversal_curse.claims.claim import Claim, Tables
from reversal_curse.claims.diffusion import (
    ABSOLUTE,
    AUTOREGRESSIVE,
    COMPARED,
    DIFFUSION,
    FACTS,
    ROTARY,
)
from reversal_curse.claims.effects import difference_of, effect_of, smallest
from reversal_curse.config.settings import NAMES
from reversal_curse.tables.summaries import LAST, rotary_correlation, score_correlations

GRADIENTS: dict[str, Any] = {**COMPARED, "tables": ("gradients",)}
ATTENTION: dict[str, Any] = {
    "where": FACTS,
    "varies": ("distance", "heads"),
    "may_vary": ("masking", "pos_encoding", "embed_dim"),
    "tables": ("attention",),
}
BEFORE = pl.col("epoch") == 0
OWN = pl.col("cosine") - pl.col("cosine_control")
ROTARY_DIFFUSION = DIFFUSION & ROTARY
SUMMED_RATIO = pl.col("actual_change").sum() / pl.col("predicted_change").sum()
PER_FORWARD = pl.col("actual_change") / pl.col("nll_forward")
NO_MORE_THAN_ANOTHER = "0: no better than with the answer of another fact"


def _of(group: str) -> pl.Expr:
    return pl.col("group") == group


@effect_of
def _correlation(tables: Tables, when: pl.Expr) -> pl.DataFrame:
    found = score_correlations(tables["attention"]).filter(ROTARY, when)
    return found.group_by("seed").agg(effect=smallest("correlation"))


def _with_rho(tables: Tables) -> pl.DataFrame:
    """Correlations before training with the closed form beside them, each setting once.

    Masking arms start from the same weights, so that one of them is enough.
    """
    once = [*(name for name in NAMES if name != "masking"), "seed", "displacement"]
    found = score_correlations(tables["attention"]).filter(ROTARY, BEFORE)
    found = found.sort("masking").unique(once, keep="first", maintain_order=True)
    settings = found.select("displacement", "head_dim", "rotated").rows()
    rho = pl.Series([rotary_correlation(*row) for row in settings], dtype=pl.Float64)
    return found.with_columns(rho=rho)


def _closed_form(tables: Tables) -> pl.DataFrame:
    """0.1 minus the absolute value of the mean deviation from rho over settings, per seed."""
    deviation = (pl.col("correlation") - pl.col("rho")).mean().abs()
    return _with_rho(tables).group_by("seed").agg(effect=0.1 - deviation)


def _closed_form_slope(tables: Tables) -> pl.DataFrame:
    """Least-squares slope of the correlation against rho over settings, per seed."""
    slope = pl.cov("rho", "correlation") / pl.col("rho").var()
    by_seed = _with_rho(tables).group_by("seed").agg(pl.col("rho").n_unique(), effect=slope)
    return by_seed.filter(pl.col("rho") >= 3).select("seed", "effect")


@effect_of
def _over_points(
    tables: Tables, value: pl.Expr, where: pl.Expr, group: str = "all"
) -> pl.DataFrame:
    """`value` over the looks at a run, the smallest over its grid points, per seed."""
    rows = tables["gradients"].filter(where, _of(group))
    by_point = rows.group_by("run", "seed").agg(value.alias("value")).drop_nulls()
    return by_point.group_by("seed").agg(effect=smallest("value"))


@effect_of
def _more_aligned(tables: Tables, value: pl.Expr, more: pl.Expr, less: pl.Expr) -> pl.DataFrame:
    """`value` in masked diffusion, mean over rows that meet `more` minus that of `less`."""
    rows = tables["gradients"].filter(DIFFUSION).with_columns(value=value)
    means = {"more": pl.col("value").filter(more), "less": pl.col("value").filter(less)}
    by_seed = rows.group_by("seed").agg(**{name: part.mean() for name, part in means.items()})
    return difference_of(by_seed, "more", "less")


def _reverse_below(tables: Tables) -> pl.DataFrame:
    """-ln p(A | B is [M]) minus -ln p(A | [M] is B) after training, per seed."""
    rows = tables["gradients"].filter(ROTARY_DIFFUSION, LAST, _of("all"))
    below = rows.with_columns(below=pl.col("nll_reverse") - pl.col("nll_forward"))
    return below.group_by("seed").agg(effect=smallest("below"))


def _scores_correlated(name: str, when: pl.Expr, words: str) -> Claim:
    return Claim(
        id=f"scores_correlated_{name}",
        paper="P2, attention scores",
        statement="In masked diffusion with rotary positions the attention scores of both layouts "
        f"of a fact are positively correlated {words}.",
        **ATTENTION,
        measures="correlation over facts, mean over heads, worst distance and head size",
        effect=_correlation(when),
        threshold=0.0,
        because="0: uncorrelated",
    )


CLAIMS = (
    Claim(
        id="reverse_below_forward",
        paper="P2, main claim",
        statement="In masked diffusion with rotary positions the probability of A after `B is` "
        "ends below that of A before `is B`.",
        **GRADIENTS,
        measures="loss of A in `B is [M]` minus that in `[M] is B` after training, rotary (nats)",
        effect=_reverse_below,
        threshold=0.0,
        because="0: equal probabilities",
        remark="After training only: before it both are a guess.",
    ),
    Claim(
        id="scores_closed_form",
        paper="P2, attention scores; rho(D) derived",
        statement="In masked diffusion with rotary positions the attention scores of both layouts "
        "of a fact correlate as rho(D) = (2 / d_h) sum_j cos(2 D theta_j), for queries and keys as "
        "they are drawn.",
        **ATTENTION,
        measures="0.1 minus the absolute value of the mean deviation from rho(D) over distances "
        "and head sizes, before training",
        effect=_closed_form,
        threshold=0.0,
        because="within 0.1 of the closed form on average",
    ),
    Claim(
        id="scores_closed_form_trend",
        paper="P2, attention scores; rho(D) derived",
        statement="In masked diffusion with rotary positions the attention scores of both layouts "
        "of a fact correlate more at those distances D and head sizes d_h at which rho(D) = "
        "(2 / d_h) sum_j cos(2 D theta_j) is larger.",
        **ATTENTION,
        measures="slope of the correlation against rho(D) before training (1 in theory)",
        effect=_closed_form_slope,
        threshold=0.5,
        because="one half: nearer to the theory than to no dependence",
    ),
    _scores_correlated("untrained", BEFORE, "before training"),
    _scores_correlated(
        "either",
        LAST & (pl.col("masking") == "either"),
        "after training with either entity masked, at every distance and head size",
    ),
    _scores_correlated(
        "any_order",
        LAST & (pl.col("masking") == "any_order"),
        "after training with tokens masked in any order",
    ),
    Claim(
        id="gradients_aligned",
        paper="P2, gradients",
        statement="In masked diffusion with rotary positions the gradients of `[M] is B` and of "
        "`B is [M]` are aligned throughout training.",
        **GRADIENTS,
        measures="cosine minus that with another fact's answer, smallest over training",
        effect=_over_points(OWN.min(), ROTARY_DIFFUSION),
        threshold=0.0,
        because=NO_MORE_THAN_ANOTHER,
    ),
    Claim(
        id="gradients_aligned_more",
        paper="P2, gradients; the contrast is ours",
        statement="In masked diffusion the gradients of `[M] is B` and of `B is [M]` are aligned "
        "more with rotary positions than with absolute ones, where reverse queries are not "
        "answered.",
        **GRADIENTS,
        measures="cosine minus that with another fact's answer, mean over training, rotary minus "
        "absolute",
        effect=_more_aligned(OWN, _of("all") & ROTARY, _of("all") & ABSOLUTE),
        threshold=0.1,
        because="0.1: a difference that can be seen in the figure",
    ),
    Claim(
        id="gradients_not_aligned_gpt",
        paper="P2, gradients; the contrast is ours",
        statement="In an autoregressive model of the same size the gradients of `A is`, asked for "
        "B, and of `B is`, asked for A, are not aligned.",
        **GRADIENTS,
        measures="0.1 minus the cosine in excess of that with another fact's answer, mean over "
        "training, worst point",
        effect=_over_points((0.1 - OWN).mean(), AUTOREGRESSIVE),
        threshold=0.0,
        because="less than 0.1 better than with the answer of another fact",
    ),
    Claim(
        id="forward_step_helps_reverse",
        paper="P2, gradients",
        statement="In masked diffusion with rotary positions a step on the forward loss lowers "
        "the reverse loss.",
        **GRADIENTS,
        measures="decrease of the reverse loss by a forward step, over the forward loss, mean "
        "over training, worst point",
        effect=_over_points(-PER_FORWARD.mean(), ROTARY_DIFFUSION),
        threshold=0.0,
        because="0: the step does nothing",
    ),
    Claim(
        id="forward_step_hurts_gpt",
        paper="P2, gradients; the contrast is ours",
        statement="In an autoregressive model a step on the forward loss raises the reverse loss.",
        **GRADIENTS,
        measures="increase of the reverse loss by a forward step, over the forward loss, mean "
        "over training, worst point",
        effect=_over_points(PER_FORWARD.mean(), AUTOREGRESSIVE),
        threshold=0.0,
        because="0: the step does nothing",
    ),
    Claim(
        id="first_order_predicts",
        paper="P2, gradients",
        statement="In masked diffusion with rotary positions a step on the forward loss changes "
        "the reverse loss as the inner product of both gradients predicts.",
        **GRADIENTS,
        measures="0.1 minus the relative error of the predicted change, summed over training, "
        "worst point",
        effect=_over_points(0.1 - (SUMMED_RATIO - 1).abs(), ROTARY_DIFFUSION),
        threshold=0.0,
        because="within a tenth, for steps that lower the forward loss by one percent",
    ),
    Claim(
        id="values_shared",
        paper="P2, value-side storage; measured by gradients",
        statement="In masked diffusion with rotary positions what a fact stores on the value side "
        "(W_V, W_O) serves both layouts.",
        **GRADIENTS,
        measures="cosine in W_V and W_O minus that with another fact's answer, smallest over "
        "training, rotary",
        effect=_over_points(OWN.min(), ROTARY_DIFFUSION, group="values"),
        threshold=0.0,
        because=NO_MORE_THAN_ANOTHER,
    ),
    Claim(
        id="values_shared_more",
        paper="P2, value-side storage; the contrast is ours",
        statement="In masked diffusion with rotary positions the value side (W_V, W_O) is shared "
        "between the layouts more than queries and keys, which the rotation sets apart.",
        **GRADIENTS,
        measures="cosine in W_V and W_O minus that in W_Q and W_K, mean over training",
        effect=_more_aligned(pl.col("cosine"), _of("values") & ROTARY, _of("attention") & ROTARY),
        threshold=0.0,
        because="0: both alike",
    ),
)

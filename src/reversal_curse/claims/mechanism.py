"""Claims on why masked diffusion answers in reverse: Jeon et al. 2026."""

from functools import partial

import polars as pl

from reversal_curse.claims import diffusion, effects
from reversal_curse.claims.claim import Claim, Tables, Threshold
from reversal_curse.claims.diffusion import ABSOLUTE, AUTOREGRESSIVE, ROTARY
from reversal_curse.config.settings import NAMES
from reversal_curse.tables.summaries import LAST, rotary_correlation, score_correlations

_measured = partial(diffusion.compared, tables=("gradients",))
_gradients = partial(_measured, paper="P2, gradients")
_contrasted = partial(_measured, paper="P2, gradients; the contrast is ours")
_attention = partial(
    Claim,
    where=diffusion.FACTS,
    varies=("distance", "heads"),
    may_vary=("masking", "pos_encoding", "embed_dim"),
    tables=("attention",),
)
SCORES = "In masked diffusion with rotary positions the attention scores of both layouts of a fact"
RHO = "rho(D) = (2 / d_h) sum_j cos(2 D theta_j)"
CORRELATION = pl.col("correlation")
BEFORE = pl.col("epoch") == 0
ALL, VALUES, QUERIES = (pl.col("group") == name for name in ("all", "values", "attention"))
ROTARY_DIFFUSION, ABSOLUTE_DIFFUSION = diffusion.DIFFUSION & ROTARY, diffusion.DIFFUSION & ABSOLUTE
RELATIVE_DIFFUSION = diffusion.DIFFUSION & diffusion.RELATIVE
SUMMED_RATIO = pl.col("actual_change").sum() / pl.col("predicted_change").sum()
PER_FORWARD = (pl.col("actual_change") / pl.col("nll_forward")).mean()
BELOW = pl.col("nll_reverse") - pl.col("nll_forward")
NO_EFFECT = Threshold(0.0, "0: the step does nothing")


def _correlations(tables: Tables, when: pl.Expr) -> pl.DataFrame:
    return score_correlations(tables["attention"]).filter(ROTARY, when)


def _with_rho(tables: Tables) -> pl.DataFrame:
    """Return correlations before training, and rho, of one masking arm: all arms start alike."""
    once = [*(name for name in NAMES if name != "masking"), "seed", "displacement"]
    found = _correlations(tables, BEFORE).sort("masking")
    found = found.unique(once, keep="first", maintain_order=True)
    settings = found.select("displacement", "head_dim", "rotated").rows()
    rho = pl.Series([rotary_correlation(*row) for row in settings], dtype=pl.Float64)
    return found.with_columns(rho=rho)


def _closed_form(tables: Tables) -> pl.DataFrame:
    """Return the mean deviation of correlations from rho over settings, per seed."""
    deviation = (CORRELATION - pl.col("rho")).mean()
    return _with_rho(tables).group_by("seed").agg(effect=deviation)


@effects.effect_of
def _over_training(
    tables: Tables, value: pl.Expr, where: pl.Expr, group: pl.Expr = ALL
) -> pl.DataFrame:
    """Return `value` over the epochs of a run, by grid point and seed."""
    rows = tables["gradients"].filter(where, group)
    return rows.group_by("run", "seed").agg(effect=value)


@effects.effect_of
def _stored(tables: Tables, where: pl.Expr) -> pl.DataFrame:
    """Return the mean rank of what the value side writes, by grid point and seed."""
    last = tables["attention"].filter(where, LAST)
    return last.group_by("run", "seed").agg(effect=pl.col("value_rank_reverse").mean())


def _correlated(when: pl.Expr, words: str) -> Claim:
    return _attention(
        paper="P2, attention scores",
        statement=f"{SCORES} are positively correlated {words}.",
        measures="correlation over facts, mean over heads, at every distance and head size",
        effect=lambda tables: _correlations(tables, when).select("run", "seed", effect=CORRELATION),
        threshold=Threshold(0.0, "0: uncorrelated"),
    )


CLAIMS = {
    "reverse_below_forward": _measured(
        paper="P2, main claim",
        statement="In masked diffusion with rotary positions the probability of A after `B is` "
        "ends below that of A before `is B`.",
        measures="loss of A in `B is [M]` minus that in `[M] is B` after training, rotary (nats)",
        effect=_over_training(BELOW.min(), ROTARY_DIFFUSION & LAST),
        threshold=effects.EQUAL,
        remark="Only after training: before it, both are guesses.",
    ),
    "scores_closed_form": _attention(
        paper="P2, attention scores; rho(D) derived",
        statement=f"{SCORES} correlate as {RHO}, for untrained queries and keys.",
        measures="mean deviation from rho(D) over D and head sizes, before training",
        effect=_closed_form,
        threshold=Threshold(-0.1, "within 0.1 of the closed form on average", 0.1),
    ),
    "scores_closed_form_trend": _attention(
        paper="P2, attention scores; rho(D) derived",
        statement=f"{SCORES} correlate more at those distances D and head sizes d_h at which "
        f"{RHO} is larger.",
        measures="slope of the correlation against rho(D) before training (1 in theory)",
        effect=lambda tables: effects.slope(_with_rho(tables), "rho", "correlation"),
        threshold=Threshold(0.5, "one half: nearer to the theory than to no dependence"),
    ),
    "scores_correlated_untrained": _correlated(BEFORE, "before training"),
    "scores_correlated_trained": _correlated(
        LAST & (pl.col("masking") == "any_order"), "after training with tokens masked in any order"
    ),
    "scores_correlated_either": _correlated(
        LAST & (pl.col("masking") == "either"),
        "after training with either entity masked, at every distance and head size",
    ),
    "gradients_aligned": _gradients(
        statement="In masked diffusion with relative positions the gradients of `[M] is B` and of "
        "`B is [M]` are aligned on average over training.",
        measures="cosine minus that with another fact's answer, mean over training",
        effect=_over_training(effects.OWN_COSINE.mean(), RELATIVE_DIFFUSION),
        threshold=effects.ALIGNED,
        remark=diffusion.MIRROR,
    ),
    "gradients_aligned_throughout": _gradients(
        statement="In masked diffusion with rotary positions the gradients of `[M] is B` and of "
        "`B is [M]` are aligned throughout training.",
        measures="cosine minus that with another fact's answer, smallest over training",
        effect=_over_training(effects.OWN_COSINE.min(), ROTARY_DIFFUSION),
        threshold=effects.ALIGNED,
    ),
    "gradients_aligned_more": _contrasted(
        statement="In masked diffusion the gradients of `[M] is B` and of `B is [M]` are more "
        "aligned with rotary positions than with absolute ones, which hardly say the answers.",
        measures="cosine minus another fact's, mean over training, rotary minus absolute",
        effect=effects.mean_difference(
            "gradients", effects.OWN_COSINE, ROTARY_DIFFUSION & ALL, ABSOLUTE_DIFFUSION & ALL
        ),
        threshold=Threshold(0.1, "0.1: a difference that can be seen in the figure"),
    ),
    "gradients_not_aligned_gpt": _contrasted(
        statement="In an autoregressive model of the same size the gradients of `A is`, asked for "
        "B, and of `B is`, asked for A, are not aligned.",
        measures="0.1 minus (cosine minus another fact's), mean over training",
        effect=_over_training((0.1 - effects.OWN_COSINE).mean(), AUTOREGRESSIVE),
        threshold=effects.NOT_ALIGNED,
        check="A is never a target and B never an input: no A is nearer to B than another",
    ),
    "forward_step_helps_reverse": _gradients(
        statement="In masked diffusion with relative positions a step on the forward loss lowers "
        "the reverse loss.",
        measures="decrease of the reverse loss by a forward step, divided by forward loss, mean "
        "over training",
        effect=_over_training(-PER_FORWARD, RELATIVE_DIFFUSION),
        threshold=NO_EFFECT,
        remark=diffusion.MIRROR,
    ),
    "forward_step_hurts_gpt": _contrasted(
        statement="In an autoregressive model a step on the forward loss raises the reverse loss.",
        check="A is never a target and B never an input: only the shared output can move",
        measures="increase of the reverse loss by a forward step, divided by forward loss, mean "
        "over training",
        effect=_over_training(PER_FORWARD, AUTOREGRESSIVE),
        threshold=NO_EFFECT,
    ),
    "first_order_predicts": _gradients(
        statement="In masked diffusion with relative positions a step on the forward loss changes "
        "the reverse loss as the inner product of both gradients predicts.",
        measures="0.1 minus the relative error of the change predicted over training",
        effect=_over_training(0.1 - (SUMMED_RATIO - 1).abs(), RELATIVE_DIFFUSION),
        threshold=effects.FIRST_ORDER,
        check="calculus: a small step changes any smooth loss so",
    ),
    **{
        f"values_stored_{name}": Claim(
            paper=paper,
            statement=f"In masked diffusion with {name} positions the value side alone ranks the "
            "right answer to a reverse query above the others.",
            where={**diffusion.FACTS, "masking": ("any_order",), "exposure": (False,)},
            varies=("pos_encoding",),
            tables=("attention",),
            measures="rank of e_A^T W_U W_O W_V e_B among the candidates A in `B is [M]`, mean "
            "over heads, after training",
            effect=_stored(encoding),
            threshold=Threshold(0.9, "0.5 is a guess, 1 the right answer first"),
        )
        for name, encoding, paper in (
            ("rotary", ROTARY, "P2, value-side storage, read directly"),
            ("absolute", ABSOLUTE, "ours, against P2, ablation"),
        )
    },
    "values_shared": _measured(
        paper="P2, value-side storage; measured by gradients",
        statement="In masked diffusion with relative positions what a fact stores on the value "
        "side (W_V, W_O) serves both layouts, on average over training.",
        measures="cosine in W_V and W_O minus another fact's, mean over training",
        effect=_over_training(effects.OWN_COSINE.mean(), RELATIVE_DIFFUSION, VALUES),
        threshold=effects.ALIGNED,
        remark=diffusion.MIRROR,
    ),
    "values_shared_throughout": _measured(
        paper="P2, value-side storage; measured by gradients",
        statement="In masked diffusion with rotary positions what a fact stores on the value side "
        "(W_V, W_O) serves both layouts throughout training.",
        measures="cosine in W_V and W_O minus another fact's, smallest over training",
        effect=_over_training(effects.OWN_COSINE.min(), ROTARY_DIFFUSION, VALUES),
        threshold=effects.ALIGNED,
    ),
    "values_shared_more": _measured(
        paper="P2, value-side storage; the contrast is ours",
        statement="In masked diffusion with rotary positions the value side (W_V, W_O) is shared "
        "between the layouts more than queries and keys, which the rotation sets apart.",
        measures="cosine in W_V and W_O minus that in W_Q and W_K, mean over training",
        effect=effects.mean_difference(
            "gradients", pl.col("cosine"), ROTARY_DIFFUSION & VALUES, ROTARY_DIFFUSION & QUERIES
        ),
        threshold=Threshold(0.0, "0: both alike"),
    ),
}

"""Claims on pretrained models: the large-scale check of Jeon et al. 2026."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from reversal_curse.claims.claim import Claim, Tables
from reversal_curse.claims.effects import smallest
from reversal_curse.pretrained.analysis import AFTER, STATE, head_correlations, learned

PAPER = "P2, large-scale check"
DIFFUSION = pl.col("kind") == "masked_diffusion"
CAUSAL = pl.col("kind") == "causal"
OWN = pl.col("cosine") - pl.col("cosine_control")
MARGIN = "reverse loss of another fact's answer minus that of the right one (nats per token)"
ONE_CHOICE = "0.1: a right answer hardly more probable than another fact's"
WORST = "after fine-tuning on forward statements, worst model that learned them"


def _worst_learned(value: pl.Expr, where: pl.Expr) -> Callable[[Tables], pl.DataFrame]:
    """`value` over `learned`, the smallest over models, per seed."""

    def effect(tables: Tables) -> pl.DataFrame:
        rows = learned(tables["answers"]).filter(where).with_columns(value=value)
        return rows.group_by("seed").agg(effect=smallest("value"))

    return effect


def _advantage(tables: Tables) -> pl.DataFrame:
    """Reverse margin, the smallest of diffusion models minus the largest of causal ones."""
    rows = learned(tables["answers"])
    by_seed = rows.group_by("seed").agg(
        diffusion=pl.col("reverse_margin").filter(DIFFUSION).min(),
        causal=pl.col("reverse_margin").filter(CAUSAL).max(),
    )
    return by_seed.drop_nulls().select("seed", effect=pl.col("diffusion") - pl.col("causal"))


def _of_learned(tables: Tables, table: str, where: pl.Expr) -> pl.DataFrame:
    """Rows of a table after fine-tuning, of the states that have learned the forward facts."""
    return tables[table].filter(where, AFTER).join(learned(tables["answers"]), on=STATE, how="semi")


def _correlated(tables: Tables) -> pl.DataFrame:
    """Correlation of scores minus the upper end of its null, means over heads, worst model."""
    found = head_correlations(_of_learned(tables, "scores", DIFFUSION))
    above = (pl.col("correlation") - pl.col("null_high")).mean()
    by_model = found.group_by("model", "seed").agg(above=above)
    return by_model.group_by("seed").agg(effect=smallest("above"))


def _gradients(value: pl.Expr, where: pl.Expr) -> Callable[[Tables], pl.DataFrame]:
    """`value` of all parameters after fine-tuning, the smallest over models, per seed."""

    def effect(tables: Tables) -> pl.DataFrame:
        rows = _of_learned(tables, "gradients", where).filter(pl.col("group") == "all")
        rows = rows.with_columns(value=value).drop_nulls("value")
        return rows.group_by("seed").agg(effect=smallest("value"))

    return effect


def _first_order(tables: Tables) -> pl.DataFrame:
    """0.1 minus the relative error of the summed prediction, the smallest over models, per seed."""
    rows = tables["gradients"].filter(DIFFUSION, pl.col("group") == "all")
    rows = rows.drop_nulls("actual_change")
    both = rows.filter(AFTER).join(rows.filter(~AFTER), on="model", suffix="_before")
    actual = pl.col("actual_change") + pl.col("actual_change_before")
    predicted = pl.col("predicted_change") + pl.col("predicted_change_before")
    both = both.with_columns(left=0.1 - (actual / predicted - 1).abs())
    return both.group_by("seed").agg(effect=smallest("left"))


CLAIMS = (
    Claim(
        id="pretrained_diffusion_reverses",
        paper=PAPER,
        statement="A pretrained masked-diffusion model that learns `A is B` knows `B is A`.",
        figure="pretrained_reversal",
        measures=f"{MARGIN}, {WORST}",
        effect=_worst_learned(pl.col("reverse_margin"), DIFFUSION),
        threshold=0.1,
        because=ONE_CHOICE,
    ),
    Claim(
        id="pretrained_causal_does_not",
        paper=PAPER,
        statement="A pretrained autoregressive model that learns `A is B` does not know `B is A`.",
        figure="pretrained_reversal",
        measures=f"0.1 minus: {MARGIN}, {WORST}",
        effect=_worst_learned(0.1 - pl.col("reverse_margin"), CAUSAL),
        threshold=0.0,
        because=ONE_CHOICE,
    ),
    Claim(
        id="pretrained_diffusion_ahead",
        paper=PAPER,
        statement="On `B is A`, pretrained masked-diffusion models that learned `A is B` are ahead "
        "of autoregressive ones that learned it.",
        figure="pretrained_reversal",
        measures=f"{MARGIN}: of the worst masked-diffusion model minus that of the best causal one",
        effect=_advantage,
        threshold=0.0,
        because="0: alike",
        remark="Of the config's models, whatever their sizes: give it models of one.",
    ),
    Claim(
        id="pretrained_reverse_below",
        paper=PAPER,
        statement="In a pretrained masked-diffusion model that learned `A is B` the answer to "
        "`B is` stays less probable than that to `A is`.",
        figure="pretrained_reversal",
        measures=f"reverse loss minus forward loss (nats per token), masked diffusion, {WORST}",
        effect=_worst_learned(pl.col("reverse_nll") - pl.col("forward_nll"), DIFFUSION),
        threshold=0.0,
        because="0: equal probabilities",
        remark="The answers are different entities: the object forward, the subject in reverse.",
    ),
    Claim(
        id="pretrained_scores_correlated",
        paper=PAPER,
        statement="In a pretrained masked-diffusion model that learned `A is B` the attention "
        "scores of both layouts are positively correlated.",
        figure="pretrained_attention",
        measures="correlation over facts minus the 97.5 % quantile of the permutation null, mean "
        f"over layers and heads, {WORST}",
        effect=_correlated,
        also=("answers",),
        threshold=0.0,
        because="0: no more than of facts that are shuffled",
    ),
    Claim(
        id="pretrained_gradients_aligned",
        paper=PAPER,
        statement="In a pretrained masked-diffusion model that learned `A is B` the forward and "
        "reverse gradients of a fact are aligned.",
        figure="pretrained_gradients",
        measures=f"cosine minus that with another fact's answer, masked diffusion, {WORST}",
        effect=_gradients(OWN, DIFFUSION),
        also=("answers",),
        threshold=0.0,
        because="0: no better than with the answer of another fact",
    ),
    Claim(
        id="pretrained_gradients_not_causal",
        paper=PAPER,
        statement="In a pretrained autoregressive model that learned `A is B` the forward and "
        "reverse gradients of a fact are not aligned.",
        figure="pretrained_gradients",
        measures=f"0.1 minus the cosine in excess of that with another fact's answer, {WORST}",
        effect=_gradients(0.1 - OWN, CAUSAL),
        also=("answers",),
        threshold=0.0,
        because="less than 0.1 better than with the answer of another fact",
    ),
    Claim(
        id="pretrained_first_order",
        paper=PAPER,
        statement="In a pretrained masked-diffusion model a forward step changes the reverse loss "
        "as the inner product of both gradients predicts.",
        figure="pretrained_gradients",
        measures="0.1 minus the relative error of the predicted change, summed over before and "
        "after fine-tuning, masked diffusion, worst model",
        effect=_first_order,
        threshold=0.0,
        because="within a tenth, for steps that lower the forward loss by one percent",
    ),
)

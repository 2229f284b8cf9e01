"""Claims on pretrained models: the large-scale check of Jeon et al. 2026."""

from typing import Any

import polars as pl

from reversal_curse.claims.claim import Claim, Tables
from reversal_curse.claims.effects import difference_of, effect_of, smallest
from reversal_curse.tables.pretrained_summaries import AFTER, STATE, head_correlations, learned

DIFFUSION = pl.col("kind") == "masked_diffusion"
CAUSAL = pl.col("kind") == "causal"
OWN = pl.col("cosine") - pl.col("cosine_control")
MARGIN = "reverse loss of another fact's answer minus that of the right one (nats per token)"
ONE_CHOICE = "0.1: a right answer hardly more probable than another fact's"
WORST = "after fine-tuning on forward statements, worst model that learned them"


@effect_of
def _worst(tables: Tables, value: pl.Expr, where: pl.Expr) -> pl.DataFrame:
    """Find the smallest `value` over models that learned the forward facts, per seed."""
    rows = learned(tables["pretrained_answers"]).filter(where).with_columns(value=value)
    return rows.group_by("seed").agg(effect=smallest("value"))


def _advantage(tables: Tables) -> pl.DataFrame:
    """Subtract the largest reverse margin of causal models from the smallest of diffusion ones."""
    margin = pl.col("margin_reverse")
    by_seed = learned(tables["pretrained_answers"]).group_by("seed")
    ends = by_seed.agg(worst=margin.filter(DIFFUSION).min(), best=margin.filter(CAUSAL).max())
    return difference_of(ends, "worst", "best")


def _of_learned(tables: Tables, table: str, where: pl.Expr) -> pl.DataFrame:
    """Pick rows after fine-tuning, of the states that have learned the forward facts."""
    states = learned(tables["pretrained_answers"])
    return tables[table].filter(where, AFTER).join(states, on=STATE, how="semi")


def _correlated(tables: Tables) -> pl.DataFrame:
    """Subtract the upper end of its null from the correlation: mean over heads, worst model."""
    found = head_correlations(_of_learned(tables, "pretrained_scores", DIFFUSION))
    above = (pl.col("correlation") - pl.col("null_high")).mean()
    by_model = found.group_by("model", "seed").agg(above=above)
    return by_model.group_by("seed").agg(effect=smallest("above"))


@effect_of
def _gradients(tables: Tables, value: pl.Expr, where: pl.Expr) -> pl.DataFrame:
    """Find the smallest `value` of all parameters over models that learned, per seed."""
    rows = _of_learned(tables, "pretrained_gradients", where).filter(pl.col("group") == "all")
    values = rows.with_columns(value=value).drop_nulls("value")
    return values.group_by("seed").agg(effect=smallest("value"))


def _first_order(tables: Tables) -> pl.DataFrame:
    """Subtract the relative error of the summed prediction from 0.1: worst model, per seed."""
    rows = tables["pretrained_gradients"].filter(DIFFUSION, pl.col("group") == "all")
    rows = rows.drop_nulls("actual_change")
    both = rows.filter(AFTER).join(rows.filter(~AFTER), on="model", suffix="_before")
    actual = pl.col("actual_change") + pl.col("actual_change_before")
    predicted = pl.col("predicted_change") + pl.col("predicted_change_before")
    both = both.with_columns(left=0.1 - (actual / predicted - 1).abs())
    return both.group_by("seed").agg(effect=smallest("left"))


_ANSWERS: dict[str, Any] = {"paper": "P2, large-scale check", "tables": ("pretrained_answers",)}
_SCORES: dict[str, Any] = {**_ANSWERS, "tables": ("pretrained_scores", "pretrained_answers")}
_GRADIENTS: dict[str, Any] = {**_ANSWERS, "tables": ("pretrained_gradients", "pretrained_answers")}

CLAIMS = (
    Claim(
        id="pretrained_diffusion_reverses",
        statement="A pretrained masked-diffusion model that learns `A is B` knows `B is A`.",
        **_ANSWERS,
        measures=f"{MARGIN}, {WORST}",
        effect=_worst(pl.col("margin_reverse"), DIFFUSION),
        threshold=0.1,
        because=ONE_CHOICE,
    ),
    Claim(
        id="pretrained_causal_does_not",
        statement="A pretrained autoregressive model that learns `A is B` does not know `B is A`.",
        **_ANSWERS,
        measures=f"0.1 minus: {MARGIN}, {WORST}",
        effect=_worst(0.1 - pl.col("margin_reverse"), CAUSAL),
        threshold=0.0,
        because=ONE_CHOICE,
    ),
    Claim(
        id="pretrained_diffusion_ahead",
        statement="On `B is A`, pretrained masked-diffusion models that learned `A is B` are ahead "
        "of autoregressive ones that learned it.",
        **_ANSWERS,
        measures=f"{MARGIN}: of the worst masked-diffusion model minus that of the best causal one",
        effect=_advantage,
        threshold=0.0,
        because="0: alike",
        remark="Of the config's models, whatever their sizes: give it models of one.",
    ),
    Claim(
        id="pretrained_reverse_below",
        statement="In a pretrained masked-diffusion model that learned `A is B` the answer to "
        "`B is` stays less probable than that to `A is`.",
        **_ANSWERS,
        measures=f"reverse loss minus forward loss (nats per token), masked diffusion, {WORST}",
        effect=_worst(pl.col("nll_reverse") - pl.col("nll_forward"), DIFFUSION),
        threshold=0.0,
        because="0: equal probabilities",
        remark="The answers are different entities: the object forward, the subject in reverse.",
    ),
    Claim(
        id="pretrained_scores_correlated",
        statement="In a pretrained masked-diffusion model that learned `A is B` the attention "
        "scores of both layouts are positively correlated.",
        **_SCORES,
        measures="correlation over facts minus the 97.5 % quantile of the permutation null, mean "
        f"over layers and heads, {WORST}",
        effect=_correlated,
        threshold=0.0,
        because="0: no more than of facts that are shuffled",
    ),
    Claim(
        id="pretrained_gradients_aligned",
        statement="In a pretrained masked-diffusion model that learned `A is B` the forward and "
        "reverse gradients of a fact are aligned.",
        **_GRADIENTS,
        measures=f"cosine minus that with another fact's answer, masked diffusion, {WORST}",
        effect=_gradients(OWN, DIFFUSION),
        threshold=0.0,
        because="0: no better than with the answer of another fact",
    ),
    Claim(
        id="pretrained_gradients_not_causal",
        statement="In a pretrained autoregressive model that learned `A is B` the forward and "
        "reverse gradients of a fact are not aligned.",
        **_GRADIENTS,
        measures=f"0.1 minus the cosine in excess of that with another fact's answer, {WORST}",
        effect=_gradients(0.1 - OWN, CAUSAL),
        threshold=0.0,
        because="less than 0.1 better than with the answer of another fact",
    ),
    Claim(
        id="pretrained_first_order",
        statement="In a pretrained masked-diffusion model a forward step changes the reverse loss "
        "as the inner product of both gradients predicts.",
        paper=_ANSWERS["paper"],
        tables=("pretrained_gradients",),
        measures="0.1 minus the relative error of the predicted change, summed over before and "
        "after fine-tuning, masked diffusion, worst model",
        effect=_first_order,
        threshold=0.0,
        because="within a tenth, for steps that lower the forward loss by one percent",
    ),
)

"""Claims on pretrained models: the large-scale check of Jeon et al. 2026."""

from functools import partial

import polars as pl

from reversal_curse.claims import effects
from reversal_curse.claims.claim import Claim, Tables, Threshold
from reversal_curse.tables.pretrained_summaries import AFTER, STATE, head_correlations, learned

WITHOUT = pl.col("arm") == "none"  # remedies are not what this paper is about
DIFFUSION = WITHOUT & (pl.col("kind") == "masked_diffusion")
CAUSAL = WITHOUT & (pl.col("kind") == "causal")
ALL = pl.col("group") == "all"
MARGIN = "reverse loss of another fact's answer minus that of the right one (nats per token)"
ONE_CHOICE = "0.1: the right answer is hardly more probable than another fact's"
TUNED = "after fine-tuning, every model that learned"
LEARNED = "In a pretrained masked-diffusion model that learned `A is B`"
_answers = partial(Claim, paper="P2, large-scale check", tables=("pretrained_answers",))
_scores = partial(_answers, tables=("pretrained_scores", "pretrained_answers"))
_with_gradients = partial(_answers, tables=("pretrained_gradients", "pretrained_answers"))
_steps = partial(_answers, tables=("pretrained_gradients",))


def _of_learned(tables: Tables, rows: pl.DataFrame) -> pl.DataFrame:
    """Return `seed`, `effect` by model (`run`), null for a seed that did not learn the facts."""
    every = tables["pretrained_answers"].filter(AFTER).select(STATE).unique()
    every = every.join(rows.select("arm", "kind").unique(), on=["arm", "kind"], how="semi")
    states = rows.join(learned(tables["pretrained_answers"]), on=STATE, how="semi")
    found = every.join(states, on=STATE, how="left")
    return found.select("seed", "effect", run="model")


@effects.effect_of
def _by_model(tables: Tables, value: pl.Expr, where: pl.Expr) -> pl.DataFrame:
    states = learned(tables["pretrained_answers"])
    return _of_learned(tables, states.filter(where).select(*STATE, effect=value))


def _advantage(tables: Tables) -> pl.DataFrame:
    """Subtract the largest reverse margin of causal models from the smallest of diffusion ones."""
    margin = pl.col("margin_reverse")
    ahead = margin.filter(DIFFUSION).min() - margin.filter(CAUSAL).max()
    return learned(tables["pretrained_answers"]).group_by("seed").agg(effect=ahead)


def _correlated(tables: Tables) -> pl.DataFrame:
    """Subtract the upper end of its null from the correlation, mean over heads."""
    found = head_correlations(tables["pretrained_scores"].filter(DIFFUSION, AFTER))
    above = (pl.col("correlation") - pl.col("null_high")).mean()
    return _of_learned(tables, found.group_by(STATE).agg(effect=above))


@effects.effect_of
def _gradients(tables: Tables, value: pl.Expr, where: pl.Expr) -> pl.DataFrame:
    """Find `value` of all parameters."""
    rows = tables["pretrained_gradients"].filter(where, ALL, AFTER)
    return _of_learned(tables, rows.select(*STATE, effect=value))


def _first_order(tables: Tables) -> pl.DataFrame:
    """Subtract the relative error of the summed prediction from 0.1, by model."""
    rows = tables["pretrained_gradients"].filter(DIFFUSION, ALL).drop_nulls("actual_change")
    both = rows.filter(AFTER).join(rows.filter(~AFTER), on="model", suffix="_before")
    actual = pl.col("actual_change") + pl.col("actual_change_before")
    predicted = pl.col("predicted_change") + pl.col("predicted_change_before")
    return both.select("seed", run="model", effect=0.1 - (actual / predicted - 1).abs())


CLAIMS = {
    "pretrained_diffusion_reverses": _answers(
        statement="A pretrained masked-diffusion model that learns `A is B` knows `B is A`.",
        measures=f"{MARGIN}, {TUNED}",
        effect=_by_model(pl.col("margin_reverse"), DIFFUSION),
        threshold=Threshold(0.1, ONE_CHOICE),
    ),
    "pretrained_causal_does_not": _answers(
        statement="A pretrained autoregressive model that learns `A is B` does not know `B is A`.",
        measures=f"0.1 minus: {MARGIN}, {TUNED}",
        effect=_by_model(0.1 - pl.col("margin_reverse"), CAUSAL),
        threshold=Threshold(0.0, ONE_CHOICE),
    ),
    "pretrained_diffusion_known": _answers(
        statement="A pretrained masked-diffusion model that learns `A is B` ranks the right answer "
        "to `B is` above the others.",
        measures=f"rank of the right answer among the candidates, {TUNED}",
        effect=_by_model(pl.col("rank_choice_reverse"), DIFFUSION),
        threshold=Threshold(0.55, "0.5 is a guess; more than 0.05 above it"),
    ),
    "pretrained_causal_unknown": _answers(
        statement="A pretrained autoregressive model that learns `A is B` does not know which "
        "answer to `B is` is right.",
        measures=f"rank of the right answer among the candidates, {TUNED}",
        effect=_by_model(pl.col("rank_choice_reverse"), CAUSAL),
        threshold=effects.CHANCE,
    ),
    "pretrained_diffusion_ahead": _answers(
        statement="Of the pretrained models that learned `A is B`, masked-diffusion ones know "
        "`B is A` better than autoregressive ones.",
        measures=f"{MARGIN}: of the worst masked-diffusion model minus that of the best causal one",
        effect=_advantage,
        threshold=Threshold(0.0, "0: alike"),
        remark="This compares the config's models whatever their sizes: use models of one size.",
    ),
    "pretrained_reverse_below": _answers(
        statement=f"{LEARNED} the answer to `B is` stays less probable than that to `A is`.",
        measures=f"reverse loss minus forward loss (nats per token), masked diffusion, {TUNED}",
        effect=_by_model(pl.col("nll_reverse") - pl.col("nll_forward"), DIFFUSION),
        threshold=effects.EQUAL,
        remark="The answers are different entities: the object forward, the subject in reverse.",
    ),
    "pretrained_scores_correlated": _scores(
        statement=f"{LEARNED} the attention scores of both layouts are positively correlated.",
        measures="correlation over facts minus the 97.5 % quantile of the permutation null, mean "
        f"over layers and heads, {TUNED}",
        effect=_correlated,
        threshold=Threshold(0.0, "0: no more than for shuffled facts"),
    ),
    "pretrained_gradients_aligned": _with_gradients(
        statement=f"{LEARNED} the forward and reverse gradients of a fact are aligned.",
        measures=f"cosine minus that with another fact's answer, masked diffusion, {TUNED}",
        effect=_gradients(effects.OWN_COSINE, DIFFUSION),
        threshold=effects.ALIGNED,
    ),
    "pretrained_gradients_not_causal": _with_gradients(
        statement="In a pretrained autoregressive model that learned `A is B` the forward and "
        "reverse gradients of a fact are not aligned.",
        measures=f"0.1 minus the cosine in excess of that with another fact's answer, {TUNED}",
        effect=_gradients(0.1 - effects.OWN_COSINE, CAUSAL),
        threshold=effects.NOT_ALIGNED,
    ),
    "pretrained_first_order": _steps(
        statement="In a pretrained masked-diffusion model a forward step changes the reverse loss "
        "as the inner product of both gradients predicts.",
        measures="0.1 minus the relative error of the predicted change, summed over before and "
        "after fine-tuning, masked diffusion",
        effect=_first_order,
        threshold=effects.FIRST_ORDER,
        check="calculus: a small step changes any smooth loss so",
    ),
}

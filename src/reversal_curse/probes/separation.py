"""Separation of the two directions of a pair: Zhu et al. 2024, section 3."""

import polars as pl

from reversal_curse.models.learner import SHOWN, UNSEEN, Learner

WHEN = "dense"


def probe(learner: Learner) -> pl.DataFrame:
    """Measure the loss of both directions of every validation pair: trained, and held out."""
    losses = {
        "nll_forward": learner.nll(learner.sentences(SHOWN)),
        "nll_reverse": learner.nll(learner.sentences(UNSEEN)),
    }
    pairs = learner.dataset.table.filter(UNSEEN).select("seed", "pair")
    return pairs.with_columns(
        pl.Series(name, nll.flatten().tolist()) for name, nll in losses.items()
    )

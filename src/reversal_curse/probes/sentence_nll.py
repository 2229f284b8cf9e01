"""The probability of every answer during training: Zhu et al. 2024, section 4."""

from __future__ import annotations

import polars as pl

from reversal_curse.probes.learner import Learner
from reversal_curse.registry import TASKS


def probe(learner: Learner) -> pl.DataFrame:
    """-ln p of every sentence's answer, trained on or not."""
    settings = learner.settings
    tokens = settings.vocab_size + TASKS[settings.task].relations(settings)
    nll = learner.nll(learner.sentences())
    return learner.dataset.table.drop("tokens").with_columns(
        pl.Series("nll", nll.flatten().tolist()),
        tokens=pl.lit(tokens),
        learning_rate=pl.lit(settings.learning_rate),
    )

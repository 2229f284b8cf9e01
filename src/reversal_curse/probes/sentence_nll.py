"""The probability of the answers during training: Zhu et al. 2024, section 4."""

import polars as pl

from reversal_curse.models.learner import HELD_OUT, Learner
from reversal_curse.tasks import TASKS

WHEN = "dense"


def probe(learner: Learner) -> pl.DataFrame:
    """Measure -ln p of every answer, shown or not, of the facts with a held-out direction."""
    settings = learner.settings
    nll = learner.nll(learner.sentences(HELD_OUT)).flatten().tolist()
    return learner.dataset.table.filter(HELD_OUT).with_columns(
        pl.Series("nll", nll),
        tokens=pl.lit(TASKS[settings.task].vocabulary(settings)),
        learning_rate=pl.lit(settings.learning_rate),
    )

"""Effective weights from entity to entity while they are learned: Zhu et al. 2024, section 4.

They are read as logits after the questions of training: see `weights` for models that have them.
"""

import polars as pl

from reversal_curse.models.choice import Choices
from reversal_curse.models.learner import UNSEEN, Learner
from reversal_curse.probes.attention import margin
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tasks import TASKS

WHEN = "sparse"


def probe(learner: Learner) -> pl.DataFrame:
    """Read both directions of every held-out pair; no rows if a task has no such pairs.

    If an answer has several tokens, the first one is measured.
    """
    groups = TASKS[learner.settings.task].logit_groups
    if "unseen" not in groups:
        return TABLES["asymmetry"].empty()
    found = learner.dataset.table.filter(UNSEEN).select("seed", "pair")
    for group in ("seen", "unseen"):  # in the same order of pairs
        choices = Choices.of(
            learner.dataset, [groups[group]], learner.answer_length, learner.device
        )
        logits = learner.ask(learner.sentences(groups[group]))[:, :, 0]
        contrast = margin(logits.gather(-1, choices.answers[..., 0]), choices).flatten()
        found = found.with_columns(pl.Series(f"contrast_{group}", contrast.tolist()))
    return found.with_columns(pl.col("^contrast_.*$").fill_nan(None))

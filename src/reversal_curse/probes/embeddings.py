"""Token embeddings with the role that each token plays: Zhu et al. 2024, figure 11."""

import polars as pl

from reversal_curse.models.learner import Learner
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tasks import TASKS

WHEN = "end"


def probe(learner: Learner) -> pl.DataFrame:
    """Make the `embeddings` table; in a role, partners of one token have the same position."""
    every = learner.model.embeddings().cpu().numpy()  # (S, vocabulary, d)
    relations = range(TASKS[learner.settings.task].relations(learner.settings))
    every_role, frames = learner.roles(), []
    for seed, vectors in zip(learner.dataset.seeds, every, strict=True):
        roles = every_role.filter(pl.col("seed") == seed).select("role", "token")
        known = pl.DataFrame({"role": "relation", "token": relations}).vstack(roles)
        others = sorted(set(range(len(vectors))) - set(known["token"]))
        rows = known.vstack(pl.DataFrame({"role": "unused", "token": others}, known.schema))
        frames.append(
            rows.with_columns(
                pl.Series("embedding", vectors[rows["token"].to_numpy()]).arr.to_list(),
                seed=pl.lit(seed),
                position=pl.int_range(pl.len()).over("role"),
            )
        )
    return TABLES["embeddings"].conform(pl.concat(frames))

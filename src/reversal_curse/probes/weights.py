"""Effective weights between entities: Zhu et al. 2024, sections 3 and 4.

They are asymmetric, as the weight from A to B says nothing about that from B to A, and
intransitive, as those from A to B and from B to C say nothing about that from A to C.
"""

import polars as pl

from reversal_curse.models.learner import Learner

MOST = 128
"""At most this many tokens of a role; if there are more, every second, third, ... is taken."""

WHEN = "end"


def probe(learner: Learner) -> pl.DataFrame:
    """Make the `weights` table; a token belongs to the split of the first fact that has it."""
    sentences = learner.dataset.table.select("seed", "pair_split", token="tokens").explode("token")
    mentions = sentences.unique(["seed", "token"], keep="first", maintain_order=True)
    step = (pl.len().over("seed", "role") + MOST - 1) // MOST
    tokens = learner.roles().filter(pl.col("position") % step == 0)
    tokens = tokens.join(mentions, on=["seed", "token"], how="left", maintain_order="left")
    frames = []
    all_weights = learner.model.weights().cpu().numpy()  # (S, vocabulary, vocabulary)
    for seed, weights in zip(learner.dataset.seeds, all_weights, strict=True):
        own = tokens.filter(pl.col("seed") == seed)
        sources = own.select("seed", "pair_split", source_role="role", source="position")
        targets = own.select(target_role="role", target="position")
        ids = own["token"].to_numpy()
        pairs = sources.join(targets, how="cross", maintain_order="left_right")
        frames.append(pairs.with_columns(pl.Series("weight", weights[ids][:, ids].flatten())))
    return pl.concat(frames)

"""Effective weights between entities: Zhu et al. 2024, sections 3 and 4.

They are asymmetric, as the weight from A to B says nothing of that from B to A, and
intransitive, as those from A to B and from B to C say nothing of that from A to C.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from reversal_curse.probes.learner import Learner
from reversal_curse.probes.roles import token_roles

MOST = 128
"""Tokens of a role in the table; of more, every second, third, ... one is taken."""


def probe(learner: Learner) -> pl.DataFrame:
    """The `weights` table: from entity tokens to entity tokens."""
    settings, dataset = learner.settings, learner.dataset
    frames = []
    for seed, weights in zip(dataset.seeds, learner.model.weights().cpu().numpy(), strict=True):
        roles = token_roles(settings, dataset, seed)
        del roles["relation"]
        tokens = pl.DataFrame(
            [
                {"role": role, "place": place, "token": token}
                for role, members in roles.items()
                for place, token in list(enumerate(members))[:: -(-len(members) // MOST)]
            ],
            schema={"role": pl.String, "place": pl.Int32, "token": pl.Int32},
        ).join(_first_mention(learner, seed), on="token", how="left", maintain_order="left")
        sources = tokens.select("pair_split", source_role="role", source="place")
        targets = tokens.select(target_role="role", target="place")
        chosen = weights[np.ix_(tokens["token"].to_numpy(), tokens["token"].to_numpy())]
        frames.append(
            sources.join(targets, how="cross", maintain_order="left_right").with_columns(
                pl.lit(seed).alias("seed"), pl.Series("weight", chosen.flatten())
            )
        )
    return pl.concat(frames)


def _first_mention(learner: Learner, seed: int) -> pl.DataFrame:
    """Per token, whether the first fact that mentions it is a train or a validation fact."""
    table = learner.dataset.table.filter(pl.col("seed") == seed)
    mentions = table.select("pair_split", token="tokens").explode("token")
    return mentions.unique("token", keep="first", maintain_order=True)

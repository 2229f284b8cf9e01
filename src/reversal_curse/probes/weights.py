"""Effective weights between entities: Zhu et al. 2024, sections 3 and 4.

They are asymmetric, as the weight from A to B says nothing of that from B to A, and
intransitive, as those from A to B and from B to C say nothing of that from A to C.
"""

import numpy as np
import polars as pl

from reversal_curse.models.learner import Learner

MOST = 128
"""Tokens of a role in the table; of more, every second, third, ... one is taken."""

WHEN = "end"


def probe(learner: Learner) -> pl.DataFrame:
    """The `weights` table: from entity tokens to entity tokens.

    A token is of the split of the first fact that mentions it.
    """
    frames = []
    all_weights = learner.model.weights().cpu().numpy()  # (S, vocabulary, vocabulary)
    for seed, weights in zip(learner.dataset.seeds, all_weights, strict=True):
        roles = learner.roles(seed)
        del roles["relation"]
        rows = [
            (role, place, token)
            for role, members in roles.items()
            for place, token in list(enumerate(members))[:: -(-len(members) // MOST)]
        ]
        schema = {"role": pl.String, "place": pl.Int32, "token": pl.Int32}
        sentences = learner.dataset.table.filter(pl.col("seed") == seed)
        mentions = sentences.select("pair_split", token="tokens").explode("token")
        tokens = pl.DataFrame(rows, schema, orient="row").join(
            mentions.unique("token", keep="first", maintain_order=True),
            on="token",
            how="left",
            maintain_order="left",
        )
        sources = tokens.select("pair_split", source_role="role", source="place")
        targets = tokens.select(target_role="role", target="place")
        chosen = weights[np.ix_(tokens["token"].to_numpy(), tokens["token"].to_numpy())]
        frames.append(
            sources.join(targets, how="cross", maintain_order="left_right").with_columns(
                pl.Series("weight", chosen.flatten()), seed=pl.lit(seed)
            )
        )
    return pl.concat(frames)

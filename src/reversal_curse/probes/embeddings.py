"""Token embeddings with the role that each token plays: Zhu et al. 2024, figure 11."""

import polars as pl

from reversal_curse.models.learner import Learner
from reversal_curse.tables.schemas import TABLES

WHEN = "end"


def probe(learner: Learner) -> pl.DataFrame:
    """The `embeddings` table.

    Every token has one role: a relation, one of the task's `roles`, or unused. Within a role
    tokens come as the sentences mention them, so that partners of one token share a position.
    """
    frames = []
    embeddings = learner.model.embeddings().cpu().numpy()  # (S, vocabulary, d)
    for seed, vectors in zip(learner.dataset.seeds, embeddings, strict=True):
        roles = learner.roles(seed)
        used = {token for tokens in roles.values() for token in tokens}
        roles["unused"] = [token for token in range(len(vectors)) if token not in used]
        rows = [
            {"seed": seed, "token": token, "role": role, "position": position}
            | {"embedding": vectors[token].tolist()}
            for role, tokens in roles.items()
            for position, token in enumerate(tokens)
        ]
        frames.append(TABLES["embeddings"].conform(pl.DataFrame(rows)))
    return pl.concat(frames)

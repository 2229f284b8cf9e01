"""Token embeddings with the role that each token plays: Zhu et al. 2024, figure 11."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from reversal_curse.tables import TABLES
from reversal_curse.tasks.dataset import Dataset


def embedding_table(
    embeddings: torch.Tensor, dataset: Dataset, entity_length: int, relations: int
) -> pl.DataFrame:
    """The `embeddings` table from embeddings of shape (S, vocabulary, d)."""
    forward = dataset.table.filter(pl.col("direction") == "forward")
    frames = []
    for seed, vectors in zip(dataset.seeds, embeddings.cpu().numpy(), strict=True):
        tokens = np.stack(forward.filter(pl.col("seed") == seed)["tokens"].to_list())
        roles = token_roles(tokens, entity_length, relations, len(vectors))
        frames.append(
            pl.DataFrame(
                {
                    "seed": seed,
                    "token": [token for token, _, _ in roles],
                    "role": [role for _, role, _ in roles],
                    "position": [position for _, _, position in roles],
                    "embedding": [vectors[token].tolist() for token, _, _ in roles],
                },
                schema_overrides={"embedding": pl.List(pl.Float32)},
            )
        )
    return TABLES["embeddings"].conform(pl.concat(frames))


def token_roles(
    forward: np.ndarray, entity_length: int, relations: int, vocabulary: int
) -> list[tuple[int, str, int]]:
    """(token, role, position within the role) of every token, grouped by role.

    `forward` holds the forward sentences, shape (N, T). A tokens and B tokens come in
    the order in which sentences mention them, so that partners of one token share a position.
    """
    by_role = {
        "relation": list(range(relations)),
        "A": list(dict.fromkeys(forward[:, :entity_length].flatten().tolist())),
        "B": list(dict.fromkeys(forward[:, -entity_length:].flatten().tolist())),
    }
    used = {token for tokens in by_role.values() for token in tokens}
    by_role["unused"] = [token for token in range(vocabulary) if token not in used]
    return [
        (token, role, position)
        for role, tokens in by_role.items()
        for position, token in enumerate(tokens)
    ]

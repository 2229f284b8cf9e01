"""Token embeddings with the role that each token plays: Zhu et al. 2024, figure 11."""

from __future__ import annotations

import polars as pl
import torch

from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.tables import TABLES
from reversal_curse.tasks.dataset import Dataset


def embedding_table(embeddings: torch.Tensor, settings: Settings, dataset: Dataset) -> pl.DataFrame:
    """The `embeddings` table from embeddings of shape (S, vocabulary, d).

    Every token has one role: a relation, one of the task's `ROLES`, or unused. Within a
    role tokens come in the order in which the sentences mention them, so that partners of
    one token have the same position.
    """
    relations = TASKS[settings.task].relations(settings)
    frames = []
    for seed, vectors in zip(dataset.seeds, embeddings.cpu().numpy(), strict=True):
        roles = _token_roles(settings, dataset.table.filter(pl.col("seed") == seed), relations)
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


def _token_roles(settings: Settings, table: pl.DataFrame, relations: int) -> dict[str, list[int]]:
    """The tokens of each role, in the order of the sentences of one seed."""
    roles = {"relation": list(range(relations))}
    length = settings.entity_length
    for role, (direction, place) in TASKS[settings.task].load().ROLES.items():
        words = table.filter(pl.col("direction") == direction)["tokens"].to_list()
        entity = slice(None, length) if place == "first" else slice(-length, None)
        roles[role] = list(dict.fromkeys(token for word in words for token in word[entity]))
    return roles

"""Which part each token plays in a seed's sentences."""

from __future__ import annotations

import polars as pl

from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.tasks.dataset import Dataset


def token_roles(settings: Settings, dataset: Dataset, seed: int) -> dict[str, list[int]]:
    """The tokens of each role, `relation` and the task's `ROLES`, in the order of the sentences."""
    table = dataset.table.filter(pl.col("seed") == seed)
    roles = {"relation": list(range(TASKS[settings.task].relations(settings)))}
    for role, (direction, place) in TASKS[settings.task].load().ROLES.items():
        words = table.filter(pl.col("direction") == direction)["tokens"].to_list()
        entity = place(settings.entity_length)
        roles[role] = list(dict.fromkeys(token for word in words for token in word[entity]))
    return roles

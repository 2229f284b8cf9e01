"""Logits of the answers after each entity: Zhu et al. 2024, figure 2.

The official code reads them after the entity alone, a position that its loss never supervised;
training sentences have the relation too. Both read-outs are kept.
"""

import polars as pl
import torch

from reversal_curse.models.learner import Learner
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tasks import TASKS

WHEN = "end"


def probe(learner: Learner) -> pl.DataFrame:
    """Make the `logits` table: every answer after every query, in each of the `logit_groups`.

    For reversal, `seen` and `unseen` list the validation pairs in the same order. No rows for a
    model that reads a copy first: after a bare entity it never learned to answer.
    """
    table = TABLES["logits"]
    if learner.settings.copy_first != "none":
        return table.empty()
    frames = [table.empty()]
    length = learner.settings.entity_length
    seeds = torch.tensor(learner.dataset.seeds)
    for group, condition in TASKS[learner.settings.task].logit_groups.items():
        tokens = learner.sentences(condition)
        candidates = tokens[:, :, length + 1]
        for readout, query_length in (("entity", length), ("entity_relation", length + 1)):
            logits = learner.model(tokens[:, :, :query_length], 1)[:, :, 0]
            index = candidates[:, None, :].expand(-1, logits.shape[1], -1)
            chosen = logits.gather(-1, index)  # (S, queries, candidates)
            places = torch.meshgrid(*map(torch.arange, chosen.shape), indexing="ij")
            seed, query, candidate = (place.flatten() for place in places)
            rows = {
                "seed": seeds[seed].numpy(),
                "group": group,
                "readout": readout,
                "query": query.numpy(),
                "candidate": candidate.numpy(),
                "logit": chosen.flatten().cpu().numpy(),
            }
            frames.append(table.conform(pl.DataFrame(rows)))
    return pl.concat(frames)

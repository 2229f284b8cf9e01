"""Logits of the answers after each entity: Zhu et al. 2024, figure 2.

The official code feeds the entity alone, a position that its loss never supervised;
the sentence that was trained on has the relation too. Both read-outs are kept.
"""

from __future__ import annotations

import polars as pl
import torch

from reversal_curse.probes.learner import Learner
from reversal_curse.registry import TASKS
from reversal_curse.tables import TABLES


def probe(learner: Learner) -> pl.DataFrame:
    """The `logits` table: within each group of the task, every query against every answer.

    The groups are the task's `LOGIT_GROUPS`. For reversal, `seen` and `unseen` list the
    validation pairs in the same order; their directions are mixed, as the coin fell.
    """
    settings, dataset = learner.settings, learner.dataset
    frames = [TABLES["logits"].empty()]
    length = settings.entity_length
    for group, condition in TASKS[settings.task].load().LOGIT_GROUPS.items():
        tokens = learner.sentences(condition)
        if not tokens.shape[1]:
            continue
        candidates = tokens[:, :, length + 1]
        for readout, query_length in (("entity", length), ("entity_relation", length + 1)):
            logits = learner.model(tokens[:, :, :query_length], 1)[:, :, 0]
            index = candidates[:, None, :].expand(-1, logits.shape[1], -1)
            chosen = logits.gather(-1, index)  # (S, queries, candidates)
            frames.append(TABLES["logits"].conform(_rows(chosen, dataset.seeds, group, readout)))
    return pl.concat(frames)


def _rows(chosen: torch.Tensor, seeds: list[int], group: str, readout: str) -> pl.DataFrame:
    s, queries, candidates = torch.meshgrid(*map(torch.arange, chosen.shape), indexing="ij")
    return pl.DataFrame(
        {
            "seed": torch.tensor(seeds)[s.flatten()].numpy(),
            "group": group,
            "readout": readout,
            "query": queries.flatten().numpy(),
            "candidate": candidates.flatten().numpy(),
            "logit": chosen.flatten().cpu().numpy(),
        }
    )

"""Logits of the answers after each entity: Zhu et al. 2024, figure 2.

The official code feeds the entity alone, a position that its loss never supervised;
the sentence that was trained on has the relation too. Both read-outs are kept.
"""

from __future__ import annotations

import polars as pl
import torch

from reversal_curse.models.gpt import GPT
from reversal_curse.tables import TABLES
from reversal_curse.tasks.dataset import Dataset

GROUPS = {
    "train_forward": (pl.col("pair_split") == "train") & (pl.col("direction") == "forward"),
    "train_backward": (pl.col("pair_split") == "train") & (pl.col("direction") == "backward"),
    "seen": (pl.col("pair_split") == "validation") & (pl.col("split") == "train"),
    "unseen": (pl.col("pair_split") == "validation") & (pl.col("split") == "unseen"),
}


@torch.no_grad()
def logit_table(
    model: GPT, dataset: Dataset, entity_length: int, device: torch.device
) -> pl.DataFrame:
    """The `logits` table: within each group, every query against every candidate answer.

    `seen` and `unseen` list the validation pairs in the same order; their directions are
    mixed, as the coin of the dataset fell.
    """
    frames = []
    for group, condition in GROUPS.items():
        tokens = torch.from_numpy(dataset.tokens(condition)).to(device)
        candidates = tokens[:, :, entity_length + 1]
        for readout, length in (("entity", entity_length), ("entity_relation", entity_length + 1)):
            logits = model(tokens[:, :, :length], 1)[:, :, 0]
            index = candidates[:, None, :].expand(-1, logits.shape[1], -1)
            chosen = logits.gather(-1, index)  # (S, queries, candidates)
            frames.append(_rows(chosen, dataset.seeds, group, readout))
    return TABLES["logits"].conform(pl.concat(frames))


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

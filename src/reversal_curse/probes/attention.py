"""Attention scores in both layouts of a fact: Jeon et al. 2026.

The masked entity has the query, the known entity B the key. In `[M] is B`, the layout of the
training set, B stands D positions after the mask; in `B is [M]`, D positions before it. With
rotary positions the scores are

    S_fwd = q_M^T R(-D) k_B,   S_rev = q_M^T R(+D) k_B,

and for isotropic queries and keys their correlation is rho(D) (see `tables/summaries.py`).
"""

import polars as pl
import torch

from reversal_curse.models.learner import SHOWN, UNSEEN, Learner
from reversal_curse.tables.schemas import TABLES

WHEN = "sparse"


def probe(learner: Learner) -> pl.DataFrame:
    """Read every held-out fact's scores in every head; no rows if a task has no reverse layout.

    If an entity has several tokens, the first one is measured.
    """
    k = learner.settings.entity_length
    model = learner.model
    forward, reverse = learner.sentences(SHOWN).clone(), learner.sentences(UNSEEN).clone()
    if not torch.equal(forward[:, :, :k], reverse[:, :, -k:]):
        return TABLES["attention"].empty()
    displacement = forward.shape[-1] - k
    forward[:, :, :k] = learner.mask
    reverse[:, :, -k:] = learner.mask
    layers = zip(model.attention_scores(forward), model.attention_scores(reverse), strict=True)
    pairs = learner.dataset.table.filter(UNSEEN).select("seed", "pair")
    frames = []
    for layer, (fwd, rev) in enumerate(layers):  # each (S, N, heads, T, T)
        for head in range(fwd.shape[2]):
            frames.append(
                pairs.with_columns(
                    pl.Series("score_forward", fwd[:, :, head, 0, displacement].flatten().tolist()),
                    pl.Series("score_reverse", rev[:, :, head, displacement, 0].flatten().tolist()),
                    layer=pl.lit(layer),
                    head=pl.lit(head),
                    displacement=pl.lit(displacement),
                    rotated=pl.lit(model.blocks[0].attention.rotated),
                )
            )
    return pl.concat(frames)

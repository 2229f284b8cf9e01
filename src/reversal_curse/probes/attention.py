"""Attention scores in both layouts of a fact: Jeon et al. 2026.

The masked entity asks and the known entity B answers. In `[M] is B`, the layout of the
training set, B stands D positions after the mask; in `B is [M]` it stands D before. With
rotary positions the scores are

    S_fwd = q_M^T R(-D) k_B,   S_rev = q_M^T R(+D) k_B,

and for isotropic queries and keys their correlation is rho(D) (see `analysis.py`).
"""

from __future__ import annotations

import polars as pl
import torch

from reversal_curse.probes.learner import SHOWN, UNSEEN, Learner
from reversal_curse.tables import TABLES


def probe(learner: Learner) -> pl.DataFrame:
    """Scores of every held-out fact in every head; no rows for a task without a reverse layout.

    For entities of several tokens the first tokens stand for them.
    """
    k = learner.settings.entity_length
    forward, reverse = learner.sentences(SHOWN).clone(), learner.sentences(UNSEEN).clone()
    if not torch.equal(forward[:, :, :k], reverse[:, :, -k:]):
        return TABLES["attention"].empty()
    displacement = forward.shape[-1] - k
    rotated = learner.model.blocks[0].attention.rotated
    forward[:, :, :k] = learner.mask
    reverse[:, :, -k:] = learner.mask
    layers = zip(
        learner.model.attention_scores(forward),
        learner.model.attention_scores(reverse),
        strict=True,
    )
    pairs = learner.dataset.table.filter(UNSEEN).select("seed", "pair")
    frames = [TABLES["attention"].empty().drop("epoch")]
    for layer, (fwd, rev) in enumerate(layers):
        for head in range(fwd.shape[2]):
            scores = {
                "score_forward": fwd[:, :, head, 0, displacement],
                "score_reverse": rev[:, :, head, displacement, 0],
            }
            columns = {name: pl.Series(s.flatten().tolist()) for name, s in scores.items()}
            place = {"layer": layer, "head": head, "displacement": displacement}
            place["rotated"] = rotated
            rows = pairs.with_columns(**{key: pl.lit(v) for key, v in place.items()}, **columns)
            frames.append(rows.select(frames[0].columns).cast(frames[0].schema))
    return pl.concat(frames)

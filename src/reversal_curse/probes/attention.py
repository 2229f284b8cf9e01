"""Attention in both layouts of a fact, and what it would move: Jeon et al. 2026.

The masked entity has the query, the known entity B the key. In `[M] is B`, the layout of the
training set, B stands D positions after the mask; in `B is [M]`, D positions before it. With
rotary positions the scores are

    S_fwd = q_M^T R(-D) k_B,   S_rev = q_M^T R(+D) k_B,

and for isotropic queries and keys their correlation is rho(D) (see `tables/summaries.py`). What a
head writes for the answer A if it attends to B alone, e_A^T W_U W_O W_V e_B, is what the value
side stores of the fact; in one layer only absolute positions make it differ between the layouts.
"""

import polars as pl
import torch

from reversal_curse.models.choice import CHOICE_MEASURES, Choices, choice_measures
from reversal_curse.models.learner import SHOWN, UNSEEN, Learner
from reversal_curse.tables.schemas import TABLES

WHEN = "sparse"


def probe(learner: Learner) -> pl.DataFrame:
    """Read every held-out fact in every head; no rows if a task has no reverse layout.

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
    layers = zip(model.scores_and_values(forward), model.scores_and_values(reverse), strict=True)
    pairs = learner.dataset.table.filter(UNSEEN).select("seed", "pair")
    choices = Choices.of(learner.dataset, [UNSEEN], learner.answer_length, learner.device)
    # The layouts, and in each the places of the mask and of the known entity.
    layouts = (("forward", 0, displacement), ("reverse", displacement, 0))
    frames = []
    for layer, parts in enumerate(layers):
        to_logits = model.logits_of_values(layer)
        for head in range(to_logits.shape[1]):
            read = {}
            for (layout, mask, known), (scores, values) in zip(layouts, parts, strict=True):
                of_mask = scores[:, :, head, mask]  # (S, N, T)
                read[f"score_{layout}"] = of_mask[..., known]
                read[f"weight_{layout}"] = of_mask.softmax(-1)[..., known]
                logits = values[:, :, head, known] @ to_logits[:, head]  # (S, N, vocabulary)
                written = logits.gather(-1, choices.answers[..., 0])
                read[f"value_margin_{layout}"] = margin(written, choices)
                rank = CHOICE_MEASURES.index("rank_choice")
                read[f"value_rank_{layout}"] = choice_measures(written, choices)[rank]
            frames.append(
                pairs.with_columns(
                    *(pl.Series(name, found.flatten().tolist()) for name, found in read.items()),
                    layer=pl.lit(layer),
                    head=pl.lit(head),
                    displacement=pl.lit(displacement),
                    rotated=pl.lit(model.blocks[0].attention.rotated),
                )
            )
    return pl.concat(frames).with_columns(pl.col("^value_.*$").fill_nan(None))


def margin(scores: torch.Tensor, choices: Choices) -> torch.Tensor:
    """Subtract from the right candidate's score (S, N, G) the mean of the others: (S, N)."""
    own = scores.gather(-1, choices.right[..., None])[..., 0]
    others = scores.masked_fill(~choices.valid, 0).sum(-1) - own
    return own - others / (choices.valid.sum(-1) - 1)

"""Attention scores of the masked subject for the known object, in both layouts: Jeon et al. 2026.

Queries and keys are caught where the model calls torch's attention, so they include rotary
positions in any model's code. An entity is represented by its first token. Scores are taken
before the softmax, scaled as in the model.
"""

from typing import Any

import numpy as np
import polars as pl
import torch
from torch.overrides import TorchFunctionMode

from reversal_curse.pretrained.answers import batches, stacked
from reversal_curse.pretrained.facts import Layout, Questions
from reversal_curse.pretrained.loading import Loaded
from reversal_curse.tables.schemas import PRETRAINED_TABLES


def measure_scores(loaded: Loaded, questions: Questions) -> pl.DataFrame:
    """Make the `scores` table of a model, without the columns that name its state, or empty."""
    none = PRETRAINED_TABLES["scores"].empty()
    if loaded.entry.causal:  # the subject cannot see what follows it
        return none
    layouts = questions.right.values()
    forward, reverse = (_scores(loaded, sentences) for sentences in layouts)
    if not forward:
        print(f"{loaded.entry.name}: attention scores cannot be read from this architecture")
        return none
    rows = [
        {
            "layer": layer,
            "head": head,
            "fact": shown.fact,
            "relation": questions.facts[shown.fact].relation,
            "tokens": shown.subject[1] - shown.subject[0],
            "displacement_forward": shown.object[0] - shown.subject[0],
            "displacement_reverse": asked.object[0] - asked.subject[0],
            "score_forward": forward[shown.fact][layer, head],
            "score_reverse": reverse[shown.fact][layer, head],
        }
        for shown, asked in zip(*layouts, strict=True)
        for layer, head in np.ndindex(forward[shown.fact].shape)
    ]
    return pl.DataFrame(rows)


@torch.no_grad()
def _scores(loaded: Loaded, layouts: list[Layout]) -> dict[int, np.ndarray]:
    """Read scores (layers, heads) of the masked subject's first token, by fact."""
    found = {}
    for batch in batches(layouts, loaded.entry.batch_size):
        tokens, subject = stacked(batch, "subject")
        with _Caught(batch) as caught:
            loaded.logits(tokens.masked_fill(subject, loaded.mask))
        if caught.scores:
            scores = torch.stack(caught.scores, 1).numpy()  # (B, layers, heads)
            found |= zip([layout.fact for layout in batch], scores, strict=True)
    return found


class _Caught(TorchFunctionMode):
    """Notes the score of one query for one key per sentence in each call of torch's attention."""

    def __init__(self, layouts: list[Layout]):
        super().__init__()
        self.layouts = layouts
        self.scores: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            self._note(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _note(
        self, query: Any, key: Any, value: Any, attn_mask: Any = None, *_: Any, **named: Any
    ) -> None:
        """Note scores of query (B, heads, T, d), key (B, key heads, T, d); heads may share keys."""
        starts = [(row, one.subject[0], one.object[0]) for row, one in enumerate(self.layouts)]
        rows, queries, keys = torch.tensor(starts).T
        q, k = query[rows, :, queries].float(), key[rows, :, keys].float()
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        score = (q * k).sum(-1) * (named.get("scale") or query.shape[-1] ** -0.5)
        if attn_mask is not None and attn_mask.is_floating_point():  # ALiBi comes as a mask
            bias = attn_mask.expand(len(query), query.shape[1], -1, -1)
            score = score + bias[rows, :, queries, keys].float()
        self.scores.append(score.cpu())

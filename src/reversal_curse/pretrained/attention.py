"""Attention scores of the masked subject for the known object, in both layouts: Jeon et al. 2026.

`[M] ... object` is the forward sentence with its subject masked: the object stands D positions
after the mask. `object ... [M]` is the reverse one: it stands before. Queries and keys are caught
where the model hands them to torch's attention, so rotary positions are in them, whoever wrote the
model's code (LLaDA's and Dream's come with their checkpoints). First tokens stand for entities of
several; the score is before the softmax, scaled as the model does.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import torch
from torch.overrides import TorchFunctionMode

from reversal_curse.pretrained.answers import Questions, batches, stacked
from reversal_curse.pretrained.layout import Layout
from reversal_curse.pretrained.loading import Loaded
from reversal_curse.registry import PRETRAINED_TABLES
from reversal_curse.schema import Table

Score = tuple[int, torch.Tensor]
"""Displacement, and scores (layers, heads)."""


def measure_scores(loaded: Loaded, questions: Questions) -> pl.DataFrame:
    """The `scores` table of a model, without the columns that say which.

    No rows for causal models, whose subject cannot look at what comes after it, and for those that
    do not use torch's `scaled_dot_product_attention` (a line is printed).
    """
    table = _measured()
    if loaded.entry.causal:
        return table.empty()
    found = {name: subject_scores(loaded, questions.right[name]) for name in questions.right}
    if not any(found.values()):
        print(f"{loaded.entry.name}: attention scores cannot be read from this architecture")
        return table.empty()
    frames = []
    subjects = {layout.fact: layout.subject for layout in questions.right["forward"]}
    for fact, (forward_distance, forward) in found["forward"].items():
        reverse_distance, reverse = found["reverse"][fact]
        layers, heads = forward.shape
        frames.append(
            pl.DataFrame(
                {
                    "layer": torch.arange(layers).repeat_interleave(heads).numpy(),
                    "head": torch.arange(heads).repeat(layers).numpy(),
                    "score_forward": forward.flatten().numpy(),
                    "score_reverse": reverse.flatten().numpy(),
                }
            ).with_columns(
                fact=pl.lit(fact),
                relation=pl.lit(questions.facts[fact].relation),
                tokens=pl.lit(subjects[fact][1] - subjects[fact][0]),
                displacement_forward=pl.lit(forward_distance),
                displacement_reverse=pl.lit(reverse_distance),
            )
        )
    return table.conform(pl.concat(frames))


def _measured() -> Table:
    whole = PRETRAINED_TABLES["scores"]
    return Table(whole.name, whole.row, whole.columns[4:])


@torch.no_grad()
def subject_scores(loaded: Loaded, layouts: list[Layout]) -> dict[int, Score]:
    """Scores of the masked subject's first token for the object's first, by fact."""
    found = {}
    for batch in batches(layouts, loaded.entry.batch_size):
        tokens, asked = stacked(batch, "subject")
        queries = torch.tensor([layout.subject[0] for layout in batch])
        keys = torch.tensor([layout.object[0] for layout in batch])
        with _Caught(queries, keys) as caught:
            loaded.logits(tokens.masked_fill(asked, loaded.mask))
        if caught.scores:
            scores = torch.stack(caught.scores, 1)  # (B, layers, heads)
            for layout, query, key, score in zip(batch, queries, keys, scores, strict=True):
                found[layout.fact] = (int(key - query), score)
    return found


class _Caught(TorchFunctionMode):
    """Notes, per call of torch's attention, the score of one query for one key per sentence."""

    def __init__(self, queries: torch.Tensor, keys: torch.Tensor):
        super().__init__()
        self.queries, self.keys = queries, keys
        self.scores: list[torch.Tensor] = []

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: Any = None):
        kwargs = kwargs or {}
        if function is torch.nn.functional.scaled_dot_product_attention:
            self._note(*args, **kwargs)
        return function(*args, **kwargs)

    def _note(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor | None = None,
        attn_mask: torch.Tensor | None = None,
        *_: Any,
        scale: float | None = None,
        **__: Any,
    ) -> None:
        """Query (B, heads, T, d), key (B, heads or fewer, T, d): fewer are shared by neighbours."""
        rows = torch.arange(len(query))
        q = query[rows, :, self.queries].float()
        k = key[rows, :, self.keys].float()
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        score = (q * k).sum(-1) * (scale or query.shape[-1] ** -0.5)
        if attn_mask is not None and attn_mask.is_floating_point():  # ALiBi comes as a mask
            bias = attn_mask.expand(len(query), query.shape[1], -1, -1)
            score = score + bias[rows, :, self.queries, self.keys].float()
        self.scores.append(score.cpu())

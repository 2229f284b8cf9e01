"""Attention scores of the masked subject for the known object, in both layouts: Jeon et al. 2026.

Queries and keys are caught where the model hands them to torch's attention, so rotary positions are
in them, whoever wrote the model's code (LLaDA's and Dream's come with their checkpoints). First
tokens stand for entities of several; the score is before the softmax, scaled as the model does.
"""

from typing import Any

import polars as pl
import torch
from torch.overrides import TorchFunctionMode

from reversal_curse.pretrained.answers import batches, stacked
from reversal_curse.pretrained.facts import Layout, Questions
from reversal_curse.pretrained.loading import Loaded
from reversal_curse.tables.schemas import PRETRAINED_TABLES


def measure_scores(loaded: Loaded, questions: Questions) -> pl.DataFrame:
    """Make the `scores` table of a model, without the columns that say which.

    It has no rows for causal models, whose subject cannot look at what comes after it.
    """
    none = PRETRAINED_TABLES["scores"].empty().drop("model", "kind", "seed", "stage")
    if loaded.entry.causal:
        return none
    forward, reverse = (_scores(loaded, layouts) for layouts in questions.right.values())
    if not forward:
        print(f"{loaded.entry.name}: attention scores cannot be read from this architecture")
        return none
    frames = []
    for asked, answered in zip(*questions.right.values(), strict=True):
        layers, heads = forward[asked.fact].shape
        columns = {
            "layer": torch.arange(layers).repeat_interleave(heads).numpy(),
            "head": torch.arange(heads).repeat(layers).numpy(),
            "fact": asked.fact,
            "relation": questions.facts[asked.fact].relation,
            "tokens": asked.subject[1] - asked.subject[0],
            "displacement_forward": asked.object[0] - asked.subject[0],
            "displacement_reverse": answered.object[0] - answered.subject[0],
            "score_forward": forward[asked.fact].flatten().numpy(),
            "score_reverse": reverse[asked.fact].flatten().numpy(),
        }
        frames.append(pl.DataFrame(columns, schema_overrides=none.schema))
    return pl.concat(frames)


@torch.no_grad()
def _scores(loaded: Loaded, layouts: list[Layout]) -> dict[int, torch.Tensor]:
    """Note scores (layers, heads) of the masked subject's first token, by fact."""
    found = {}
    for batch in batches(layouts, loaded.entry.batch_size):
        tokens, asked = stacked(batch, "subject")
        queries = torch.tensor([layout.subject[0] for layout in batch])
        keys = torch.tensor([layout.object[0] for layout in batch])
        with _Caught(queries, keys) as caught:
            loaded.logits(tokens.masked_fill(asked, loaded.mask))
        if caught.scores:
            scores = torch.stack(caught.scores, 1)  # (B, layers, heads)
            found |= zip([layout.fact for layout in batch], scores, strict=True)
    return found


class _Caught(TorchFunctionMode):
    """Notes, per call of torch's attention, the score of one query for one key per sentence."""

    def __init__(self, queries: torch.Tensor, keys: torch.Tensor):
        super().__init__()
        self.queries, self.keys = queries, keys
        self.scores: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            self._note(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _note(self, query: torch.Tensor, key: torch.Tensor, *rest: Any, **named: Any) -> None:
        """Query (B, heads, T, d), key (B, heads or fewer, T, d): fewer are shared by neighbours."""
        mask = rest[1] if len(rest) > 1 else named.get("attn_mask")
        rows = torch.arange(len(query))
        q, k = query[rows, :, self.queries].float(), key[rows, :, self.keys].float()
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        score = (q * k).sum(-1) * (named.get("scale") or query.shape[-1] ** -0.5)
        if mask is not None and mask.is_floating_point():  # ALiBi comes as a mask
            bias = mask.expand(len(query), query.shape[1], -1, -1)
            score = score + bias[rows, :, self.queries, self.keys].float()
        self.scores.append(score.cpu())

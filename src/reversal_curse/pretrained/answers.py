"""Loss and exact match of whole answers, in both directions.

Causal models answer from left to right. Masked models fill in the tokens of the answer one by one,
the surest first: their own tokens for the exact match, the true ones for the loss. The -ln p add up
to that of a proper probability, because the order depends only on what was filled in before.
"""

import math
from collections.abc import Iterator

import polars as pl
import torch

from reversal_curse.models.likelihood import answer_nll
from reversal_curse.pretrained.facts import Layout, Questions
from reversal_curse.pretrained.loading import Loaded


def measure_answers(loaded: Loaded, questions: Questions) -> pl.DataFrame:
    """Make the `answers` table of a model, without the columns that name its state."""
    rows = []
    for direction, layouts in questions.right.items():
        wrong = answer(loaded, questions.wrong[direction], truth=True)
        right, exact = answer(loaded, layouts, truth=True), answer(loaded, layouts, truth=False)
        rows += [
            {
                "direction": direction,
                "fact": layout.fact,
                "relation": questions.facts[layout.fact].relation,
                "tokens": layout.answer[1] - layout.answer[0],
                "nll": right[layout.fact],
                "nll_shuffled": wrong.get(layout.fact),
                "exact": exact[layout.fact],
                "chance": math.log(len(loaded.tokenizer)),
            }
            for layout in layouts
        ]
    return pl.DataFrame(rows, infer_schema_length=None)


def batches(layouts: list[Layout], size: int) -> Iterator[list[Layout]]:
    """Yield at most `size` sentences of one length at a time, so that nothing is padded."""
    for length in sorted({len(layout.tokens) for layout in layouts}):
        alike = [layout for layout in layouts if len(layout.tokens) == length]
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def stacked(layouts: list[Layout], entity: str = "answer") -> tuple[torch.Tensor, torch.Tensor]:
    """Stack sentences of one length; return tokens (B, T) and where an entity is (B, T), bool."""
    tokens = torch.tensor([layout.tokens for layout in layouts])
    start, end = torch.tensor([getattr(layout, entity) for layout in layouts]).T[..., None]
    position = torch.arange(tokens.shape[1])
    return tokens, (start <= position) & (position < end)


@torch.no_grad()
def answer(loaded: Loaded, layouts: list[Layout], truth: bool) -> dict[int, float | bool]:
    """Compute -ln p per answer token by fact; without `truth`, whether greedy answers are right."""
    found = {}
    for batch in batches(layouts, loaded.entry.batch_size):
        tokens, asked = stacked(batch)
        if not loaded.entry.causal:
            nll, given = _fill_in(loaded, tokens, asked, truth)
        elif truth:
            nll = (token_nll(loaded, tokens, tokens) * asked).sum(1)
        else:  # the model is shown the true tokens: up to its first mistake they are its own
            given = loaded.logits(tokens).argmax(-1).cpu()
        values = nll.double() / asked.sum(1) if truth else ((given == tokens) | ~asked).all(1)
        found |= zip([layout.fact for layout in batch], values.tolist(), strict=True)
    return found


def token_nll(loaded: Loaded, shown: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Compute -ln p (B, T) of each of `tokens` (B, T) if the model sees `shown` (B, T)."""
    logits = loaded.logits(shown)
    return answer_nll(logits, tokens.to(logits.device)).cpu()


def _fill_in(
    loaded: Loaded, tokens: torch.Tensor, asked: torch.Tensor, truth: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill in asked tokens (B, T), true or the model's own; return -ln p (B,) and sentences."""
    hidden = asked.clone()
    shown = tokens.masked_fill(hidden, loaded.mask)
    nll = torch.zeros(len(tokens))
    while hidden.any():
        log_p = loaded.logits(shown).log_softmax(-1)
        probability, best = (values.cpu() for values in log_p.max(-1))
        rows = hidden.any(1).nonzero().flatten()  # the others are done
        surest = probability.masked_fill(~hidden, -torch.inf).argmax(1)[rows]
        given = (tokens if truth else best)[rows, surest]
        nll[rows] -= log_p[rows, surest, given].cpu()
        shown[rows, surest], hidden[rows, surest] = given, False
    return nll, shown

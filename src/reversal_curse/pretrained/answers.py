"""How well facts are known: loss and exact match of whole answers, in both directions.

A causal model answers from left to right. For a masked one all tokens of the answer are masked (it
is told their number), then filled in one by one, where the model is surest of a token. The exact
match fills in the model's own tokens. The loss fills in the true ones and adds up -ln p of each: a
proper probability, since the order depends on nothing but what is filled in so far.
"""

import math
from collections.abc import Iterator

import polars as pl
import torch

from reversal_curse.pretrained.facts import Layout, Questions
from reversal_curse.pretrained.loading import Loaded


def measure_answers(loaded: Loaded, questions: Questions) -> pl.DataFrame:
    """Make the `answers` table of a model, without the columns that say which."""
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
    """Yield at most `size` sentences of one length at a time: nothing is ever padded."""
    for length in sorted({len(layout.tokens) for layout in layouts}):
        alike = [layout for layout in layouts if len(layout.tokens) == length]
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def stacked(layouts: list[Layout], asked: str = "answer") -> tuple[torch.Tensor, torch.Tensor]:
    """Stack tokens (B, T) of sentences of one length, and where an entity stands (B, T), bool."""
    tokens = torch.tensor([layout.tokens for layout in layouts])
    position = torch.arange(tokens.shape[1])
    spans = torch.tensor([getattr(layout, asked) for layout in layouts])
    return tokens, (position >= spans[:, :1]) & (position < spans[:, 1:])


@torch.no_grad()
def answer(loaded: Loaded, layouts: list[Layout], truth: bool) -> dict[int, float | bool]:
    """Compute -ln p of answers per token, by fact; without `truth`, whether greedy ones match."""
    found = {}
    for batch in batches(layouts, loaded.entry.batch_size):
        tokens, asked = stacked(batch)
        if not loaded.entry.causal:
            nll, given = _fill_in(loaded, tokens, asked, truth)
        elif truth:
            nll = (token_nll(loaded, tokens, tokens) * asked).sum(1)
        else:  # right in every token after the right ones before it: then they are what it writes
            given = loaded.logits(tokens).argmax(-1).cpu()
        values = nll.double() / asked.sum(1) if truth else ((given == tokens) | ~asked).all(1)
        found |= zip([layout.fact for layout in batch], values.tolist(), strict=True)
    return found


def token_nll(loaded: Loaded, shown: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Compute -ln p (B, T) of each of `tokens` (B, T) with `shown` (B, T) in their place."""
    logits = loaded.logits(shown)
    target = tokens.to(logits.device).unsqueeze(-1)
    return -logits.log_softmax(-1).gather(-1, target).squeeze(-1).cpu()


def _fill_in(
    loaded: Loaded, tokens: torch.Tensor, asked: torch.Tensor, truth: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill in the asked tokens (B, T), true or the model's; -ln p of all (B,) and the sentences."""
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

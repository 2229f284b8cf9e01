"""Loss and exact match of whole answers, in both directions.

Causal models answer from left to right. Masked models fill in the tokens of the answer one by one,
the surest first: their own tokens for the exact match, the true ones for the loss. The -ln p add up
to that of a proper probability, because the order depends only on what was filled in before.
"""

import math
from collections.abc import Iterator
from itertools import chain

import polars as pl
import torch

from reversal_curse.models.choice import CHANCES, CHOICE_MEASURES, Choices, choice_measures
from reversal_curse.models.likelihood import answer_nll
from reversal_curse.pretrained.facts import Layout, Questions
from reversal_curse.pretrained.loading import Loaded


def measure_answers(loaded: Loaded, questions: Questions) -> pl.DataFrame:
    """Make the `answers` table of a model, without the columns that name its state."""
    rows = []
    for direction, layouts in questions.right.items():
        wrong = {layout.fact: layout for layout in questions.wrong[direction]}
        candidates = questions.candidates[direction]
        asked = dict.fromkeys([*chain(*candidates), *wrong.values()])  # each sentence once
        nll = answer(loaded, [*asked], truth=True)
        echoes = [layout.echoed() for layout in layouts]
        exact = answer(loaded, [*layouts, *echoes], truth=False)
        for layout, echo, choice in zip(layouts, echoes, choose(candidates, nll), strict=True):
            other = wrong.get(layout.fact)
            row = {
                "direction": direction,
                "fact": layout.fact,
                "relation": questions.facts[layout.fact].relation,
                "tokens": layout.length,
                "nll": nll[layout] / layout.length,
                "nll_shuffled": nll[other] / other.length if other else None,
                "exact": exact[layout],
                "echo": exact[echo],
                "chance": math.log(len(loaded.tokenizer)),
            }
            rows.append(row | choice)
    several = pl.when(pl.col("candidates") > 1)
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(several.then("rank_choice"))


def choose(candidates: list[list[Layout]], nll: dict[Layout, float]) -> list[dict[str, float]]:
    """Compute CHOICE_MEASURES and CHANCES of queries from -ln p (nats) of whole answers.

    The first candidate of a query is the right one.
    """
    counts = torch.tensor([len(listed) for listed in candidates])
    valid = (torch.arange(int(counts.max())) < counts[:, None])[None]
    log_p = torch.zeros(valid.shape, dtype=torch.float64)
    log_p[valid] = -log_p.new_tensor([nll[one] for one in chain(*candidates)])
    choices = Choices(torch.empty(0), valid, right=torch.zeros(1, len(counts), dtype=torch.long))
    values = torch.cat((choice_measures(log_p, choices), choices.chances()))[:, 0]
    names = (*CHOICE_MEASURES, *CHANCES)
    return [dict(zip(names, row, strict=True)) for row in values.T.tolist()]


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
def answer(loaded: Loaded, layouts: list[Layout], truth: bool) -> dict[Layout, float | bool]:
    """Compute -ln p (nats) of each answer; without `truth`, whether the greedy one equals it."""
    found = {}
    for batch in batches(layouts, loaded.entry.batch_size):
        tokens, asked = stacked(batch)
        if not loaded.entry.causal:
            nll, given = _fill_in(loaded, tokens, asked, truth)
        elif truth:
            nll = (token_nll(loaded, tokens, tokens) * asked).sum(1)
        else:  # the model is shown the true tokens: up to its first mistake they are its own
            given = loaded.logits(tokens).argmax(-1).cpu()
        values = nll.double() if truth else ((given == tokens) | ~asked).all(1)
        found |= zip(batch, values.tolist(), strict=True)
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

"""How well facts are known: loss and exact match of whole answers, in both directions.

Decoding. A causal model answers from left to right. For a masked one all tokens of the answer are
masked (it is told their number), then filled in one by one: each time the position where the model
is surest of a token. The exact match fills in the model's own tokens. The loss fills in the true
ones, in the order of the model's confidence, and adds up -ln p of each: a proper probability of the
answer, since the order depends on nothing but what is filled in so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl
import torch

from reversal_curse.errors import UserError
from reversal_curse.pretrained.facts import Fact
from reversal_curse.pretrained.layout import ANSWERS, DIRECTIONS, Layout, lay_out, lay_out_one
from reversal_curse.pretrained.loading import Loaded


@dataclass(frozen=True)
class Questions:
    """The facts as tokens, in both directions, and the same with wrong answers."""

    facts: list[Fact]
    right: dict[str, list[Layout]]
    wrong: dict[str, list[Layout]]
    """With the answer of another fact of the relation; of facts that are alone in it none."""

    @classmethod
    def of(cls, facts: list[Fact], tokenizer: object) -> Questions:
        """Raises UserError where the tokenizer cannot lay out a fact."""
        return cls(
            facts,
            {name: lay_out(facts, tokenizer, name) for name in DIRECTIONS},
            {name: _wrong(facts, tokenizer, name) for name in DIRECTIONS},
        )

    def check_first_tokens(self, name: str) -> None:
        """Refuse sentences whose first token is asked for, of which a shifted model says nothing.

        Raises UserError, which names the first of them.
        """
        for layouts in self.right.values():
            for layout in layouts:
                if 0 in (layout.subject[0], layout.object[0]):
                    raise UserError(
                        f"{name}: fact {layout.fact + 1}: a model that is shifted says nothing of "
                        "the first token: put a word before the entity in its templates"
                    )


def _wrong(facts: list[Fact], tokenizer: object, direction: str) -> list[Layout]:
    """Each fact's question with the answer of the next one of its relation."""
    answer = ANSWERS[direction]
    layouts = []
    for index, fact in enumerate(facts):
        others = [i for i, other in enumerate(facts) if other.relation == fact.relation]
        if len(others) > 1:
            other = facts[others[(others.index(index) + 1) % len(others)]]
            swapped = replace(fact, **{answer: getattr(other, answer)})
            layouts.append(lay_out_one(index, swapped, tokenizer, direction))
    return layouts


def measure_answers(loaded: Loaded, questions: Questions) -> pl.DataFrame:
    """The `answers` table of a model, without the columns that say which."""
    chance = math.log(loaded.words())
    frames = []
    for direction in DIRECTIONS:
        layouts = questions.right[direction]
        right, wrong = answer_nll(loaded, layouts), answer_nll(loaded, questions.wrong[direction])
        exact = answered_exactly(loaded, layouts)
        rows = [
            {
                "direction": direction,
                "fact": layout.fact,
                "relation": questions.facts[layout.fact].relation,
                "tokens": layout.answer[1] - layout.answer[0],
                "nll": right[layout.fact],
                "nll_shuffled": wrong.get(layout.fact),
                "exact": exact[layout.fact],
                "chance": chance,
            }
            for layout in layouts
        ]
        frames.append(pl.DataFrame(rows, infer_schema_length=None))
    return pl.concat(frames, how="vertical_relaxed")


def batches(layouts: list[Layout], size: int) -> Iterator[list[Layout]]:
    """At most `size` sentences of one length at a time: nothing is ever padded."""
    lengths = sorted({len(layout.tokens) for layout in layouts})
    for length in lengths:
        alike = [layout for layout in layouts if len(layout.tokens) == length]
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def stacked(layouts: list[Layout], asked: str = "answer") -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, T) of sentences of one length, and where an entity stands (B, T), bool."""
    tokens = torch.tensor([layout.tokens for layout in layouts])
    position = torch.arange(tokens.shape[1])
    spans = torch.tensor([getattr(layout, asked) for layout in layouts])
    return tokens, (position >= spans[:, :1]) & (position < spans[:, 1:])


@torch.no_grad()
def answer_nll(loaded: Loaded, layouts: list[Layout]) -> dict[int, float]:
    """-ln p of whole answers in nats per token, by fact."""
    found = {}
    for batch in batches(layouts, loaded.entry.batch_size):
        tokens, asked = stacked(batch)
        if loaded.entry.causal:
            nll = (token_nll(loaded, tokens, tokens) * asked).sum(1)
        else:
            nll, _ = _fill_in(loaded, tokens, asked, truth=True)
        per_token = nll.double() / asked.sum(1)
        found |= dict(zip([layout.fact for layout in batch], per_token.tolist(), strict=True))
    return found


@torch.no_grad()
def answered_exactly(loaded: Loaded, layouts: list[Layout]) -> dict[int, bool]:
    """Whether the greedy answer is the right one, by fact."""
    found = {}
    for batch in batches(layouts, loaded.entry.batch_size):
        tokens, asked = stacked(batch)
        if loaded.entry.causal:
            # Right in every token after the right ones before it: then they are what it writes.
            given = loaded.logits(tokens).argmax(-1).cpu()
        else:
            _, given = _fill_in(loaded, tokens, asked, truth=False)
        right = ((given == tokens) | ~asked).all(1)
        found |= dict(zip([layout.fact for layout in batch], right.tolist(), strict=True))
    return found


def token_nll(loaded: Loaded, shown: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """-ln p (B, T) of each of `tokens` (B, T) with `shown` (B, T) in their place."""
    logits = loaded.logits(shown)
    target = tokens.to(logits.device).unsqueeze(-1)
    return -logits.log_softmax(-1).gather(-1, target).squeeze(-1).to("cpu")


def _fill_in(
    loaded: Loaded, tokens: torch.Tensor, asked: torch.Tensor, truth: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill in the asked tokens (B, T), the surest first; -ln p of all (B,) and the sentences.

    With `truth` the true token is filled in where the model is surest, else its own.
    """
    hidden = asked.clone()
    shown = tokens.masked_fill(hidden, loaded.mask)
    nll = torch.zeros(len(tokens))
    rows = torch.arange(len(tokens))
    while hidden.any():
        log_p = loaded.logits(shown).log_softmax(-1)
        probability, best = (values.cpu() for values in log_p.max(-1))
        surest = probability.masked_fill(~hidden, -torch.inf).argmax(1)
        given = (tokens if truth else best)[rows, surest]
        open_ = hidden[rows, surest]  # false in sentences that are done
        picked = log_p[rows.to(log_p.device), surest.to(log_p.device), given.to(log_p.device)].cpu()
        nll += torch.where(open_, -picked, 0.0)
        shown[rows, surest] = torch.where(open_, given, shown[rows, surest])
        hidden[rows, surest] = False
    return nll, shown

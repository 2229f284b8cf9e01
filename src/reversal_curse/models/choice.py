"""Forced choice: which of the possible answers a model prefers, whatever else it would say.

The candidates of a query are the answers of all queries of its seed, split and direction, each
once. With p the probability of a whole answer, -ln p of the right one is the sum of what it costs
that the answer is a candidate at all (`nll_set`) and which candidate it is (`nll_choice`).
Berglund et al. 2023 compare the right name with a random one in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from reversal_curse.tables.dataset import Dataset

CHOICE_MEASURES = ("nll_choice", "accuracy_choice", "rank_choice", "nll_set")
CHANCES = ("candidates", "chance_choice", "chance_accuracy")


@dataclass(frozen=True, eq=False)
class Choices:
    """The candidates of N queries of S seeds, at most G for each."""

    answers: torch.Tensor
    """Token ids (S, N, G, k)."""
    valid: torch.Tensor
    """Which candidates there are, (S, N, G), bool: queries may have fewer than G."""
    right: torch.Tensor
    """Index of the right answer among the candidates, (S, N)."""

    @classmethod
    def of(
        cls, dataset: Dataset, splits: Iterable[pl.Expr], length: int, device: torch.device
    ) -> Choices:
        """Find the candidates of the queries of some splits, whose answers have `length` tokens."""
        keys = ["seed", "split", "direction"]
        parts = [dataset.table.filter(condition) for condition in splits]
        queries = pl.concat(parts).sort("seed", maintain_order=True)
        answer = pl.col("tokens").list.tail(length)
        spelt = answer.cast(pl.List(pl.String)).list.join(" ")
        queries = queries.select(*keys, answer=answer, right=spelt.rank("dense").over(keys) - 1)
        known = queries.unique([*keys, "right"]).sort(*keys, "right")
        groups = known.group_by(keys, maintain_order=True).agg("answer").with_row_index("group")
        sizes = groups["answer"].list.len().to_numpy()
        answers = np.zeros((groups.height, sizes.max(), length), dtype=np.int64)
        valid = np.arange(sizes.max()) < sizes[:, None]
        answers[valid] = known["answer"].explode().to_numpy().reshape(-1, length)
        rows = queries.join(groups, on=keys, how="left", maintain_order="left")
        index, right = (
            rows[name].to_numpy().astype(np.int64).reshape(len(dataset.seeds), -1)
            for name in ("group", "right")
        )
        arrays = answers[index], valid[index], right
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))

    def after(self, start: int) -> Choices:
        """Return those of all queries but the first ones; they may have many fewer candidates."""
        valid = self.valid[:, start:]
        most = int(valid.sum(-1).max())
        return Choices(self.answers[:, start:, :most], valid[:, :, :most], self.right[:, start:])

    def chances(self) -> torch.Tensor:
        """Return CHANCES (measures, S, N): how many candidates there are, and what a guess gets."""
        count = self.valid.sum(-1).double()
        return torch.stack((count, count.log(), 1 / count))


def candidate_log_p(logits: torch.Tensor, choices: Choices) -> torch.Tensor:
    """Compute ln p (S, N, G) of candidates from logits (S, N, k, vocabulary) of all answers."""
    log_p = logits.log_softmax(-1).transpose(2, 3)  # (S, N, vocabulary, k)
    return log_p.gather(2, choices.answers).sum(-1)


def choice_measures(log_p: torch.Tensor, choices: Choices) -> torch.Tensor:
    """Compute CHOICE_MEASURES (measures, S, N) from ln p of candidates (S, N, G).

    `accuracy_choice` shares a tie among its candidates, and `rank_choice`, the share of the other
    candidates that are less probable, counts ties as half: chance is 1 / G and 1 / 2. All are NaN
    if any ln p is, and `rank_choice` if there is no other candidate.
    """
    log_p = log_p.double().masked_fill(~choices.valid, -torch.inf)
    own = log_p.gather(-1, choices.right[..., None])
    of_set = log_p.logsumexp(-1)
    less = ((log_p < own) & choices.valid).sum(-1)
    ties = (log_p == own).sum(-1)
    more = choices.valid.sum(-1) - less - ties
    others = choices.valid.sum(-1) - 1
    accuracy = (more == 0) / ties
    rank = (less + (ties - 1) / 2) / others
    found = torch.stack((of_set - own[..., 0], accuracy, rank, -of_set))
    return found.masked_fill(of_set.isnan(), torch.nan)

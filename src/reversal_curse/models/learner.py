"""What probes see of a run: the models of all seeds, their sentences, and their answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch

from reversal_curse.config.settings import Settings
from reversal_curse.models.likelihood import answer_measures, answer_nll
from reversal_curse.tables.dataset import Dataset
from reversal_curse.tasks import TASKS

HELD_OUT = pl.col("pair_split") == "validation"
SHOWN = HELD_OUT & (pl.col("split") == "train")
UNSEEN = pl.col("split") == "unseen"


@dataclass(frozen=True)
class Learner:
    """The models of all seeds of a grid point while they learn."""

    settings: Settings
    dataset: Dataset
    device: torch.device
    model: Any
    """The family's own model."""
    ask: Callable[[torch.Tensor], torch.Tensor]
    """Maps sentences (S, B, T) to the logits (S, B, k, words) of their answers."""
    mask: Any = None
    """Id of the token [M], for families that have one."""

    @property
    def answer_length(self) -> int:
        """The number of tokens in an answer: k."""
        return TASKS[self.settings.task].answer_length(self.settings)

    def sentences(self, *conditions: pl.Expr) -> torch.Tensor:
        """Return token ids (S, N, T) of the sentences that meet `conditions`."""
        return torch.from_numpy(self.dataset.tokens(*conditions)).to(self.device)

    def measure(self, sentences: torch.Tensor) -> torch.Tensor:
        """Compute `answer_measures` (measures, S, N) of the answers in `sentences` (S, N, T)."""
        return answer_measures(self.ask(sentences), sentences[:, :, -self.answer_length :])

    def nll(self, sentences: torch.Tensor, answers: torch.Tensor | None = None) -> torch.Tensor:
        """Compute -ln p (S, B) of the answers that end `sentences` (S, B, T), or of `answers`."""
        k = self.answer_length
        if answers is not None:
            sentences = torch.cat((sentences[:, :, :-k], answers), dim=-1)
        return answer_nll(self.ask(sentences), sentences[:, :, -k:]).sum(-1)

    def roles(self) -> pl.DataFrame:
        """Tabulate `seed`, `role`, `position`, `token` of the task's roles, in sentence order."""
        rows = []
        for role, (direction, place) in TASKS[self.settings.task].roles.items():
            entity = place(self.settings.entity_length)
            sentences = self.dataset.table.filter(pl.col("direction") == direction)
            for seed, tokens in sentences.select("seed", "tokens").iter_rows():
                rows += [(seed, role, token) for token in tokens[entity]]
        table = pl.DataFrame(rows, ["seed", "role", "token"], orient="row")
        table = table.unique(maintain_order=True).sort("seed", maintain_order=True)
        return table.with_columns(position=pl.int_range(pl.len()).over("seed", "role"))

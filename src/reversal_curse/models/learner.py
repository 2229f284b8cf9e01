"""What probes see of a run: the models of all seeds, their sentences, and their answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch

from reversal_curse.config.settings import Settings
from reversal_curse.models.choice import (
    CHANCES,
    CHOICE_MEASURES,
    Choices,
    candidate_log_p,
    choice_measures,
)
from reversal_curse.models.likelihood import ANSWER_MEASURES, answer_measures, answer_nll
from reversal_curse.tables.dataset import Dataset
from reversal_curse.tasks import TASKS

MEASURES = (*ANSWER_MEASURES, *CHOICE_MEASURES, *CHANCES)
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

    @property
    def answers_at_once(self) -> bool:
        """Whether the logits of an answer's tokens do not depend on those before them."""
        return self.answer_length == 1 or self.mask is not None

    def measure(self, sentences: torch.Tensor, choices: Choices) -> torch.Tensor:
        """Compute MEASURES (measures, S, N) of the answers that end the sentences (S, N, T).

        Those of the choice are NaN if candidates must be read one by one: see `choose`.
        """
        logits = self.ask(sentences)
        said = answer_measures(
            logits, sentences, TASKS[self.settings.task].relations(self.settings)
        )
        if self.answers_at_once:
            log_p = candidate_log_p(logits, choices)
        else:
            log_p = logits.new_full(choices.valid.shape, torch.nan)
        return torch.cat((said, choice_measures(log_p, choices), choices.chances()))

    def choose(self, sentences: torch.Tensor, choices: Choices) -> torch.Tensor:
        """Compute CHOICE_MEASURES (measures, S, N) by asking for each candidate by itself."""
        columns = choices.answers.unbind(2)
        log_p = torch.stack([-self.nll(sentences, answers) for answers in columns], -1)
        return choice_measures(log_p, choices)

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

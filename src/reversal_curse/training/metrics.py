"""The numbers of an evaluation: negative log-likelihoods and accuracy, per seed."""

from __future__ import annotations

import math
from itertools import product

import polars as pl
import torch

from reversal_curse.models.likelihood import MEASURES
from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.tables import TABLES


class MetricsRecorder:
    """Collects evaluations and gives them as the `metrics` table.

    `splits` holds how many sentences each split has. Numbers stay on the device until a line or
    the table is asked for, so that an evaluation on a GPU waits for nothing.
    """

    def __init__(self, settings: Settings, seeds: list[int], splits: dict[str, int]):
        task = TASKS[settings.task]
        self.seeds = seeds
        self.splits = splits
        self.chance = {
            "chance_vocab": math.log(task.vocabulary(settings)),
            "chance_class": math.log(task.class_size(settings)),
        }
        self.epochs: list[int] = []
        self.values: list[torch.Tensor] = []  # each (splits, measures, S)

    def record(self, epoch: int, measures: torch.Tensor) -> None:
        """Note one evaluation from `answer_measures` (measures, S, N) of the N sentences.

        They are those of all splits, one split after the other.
        """
        means = [part.mean(-1) for part in measures.split(list(self.splits.values()), -1)]
        self.epochs.append(epoch)
        self.values.append(torch.stack(means))

    def last_line(self) -> str:
        """The last evaluation as a line for the log: means over the seeds."""
        means = self.values[-1].mean(-1).tolist()
        return "; ".join(
            f"{split} NLL {nll:.3f} nats, accuracy {accuracy:.2f}"
            for split, (nll, _, accuracy) in zip(self.splits, means, strict=True)
        )

    def state(self) -> dict[str, torch.Tensor]:
        """Everything recorded."""
        values = torch.stack(self.values) if self.values else torch.zeros(0)
        return {"epochs": torch.tensor(self.epochs), "values": values}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Have recorded what `state` holds, and nothing else."""
        self.epochs, self.values = state["epochs"].tolist(), list(state["values"])

    def table(self) -> pl.DataFrame:
        """Everything recorded, sorted by seed, epoch and split."""
        rows = list(product(self.epochs, self.splits, self.seeds))
        keys = pl.DataFrame(rows, schema=["epoch", "split", "seed"], orient="row")
        values = torch.stack(self.values).transpose(2, 3).reshape(-1, len(MEASURES))
        measured = pl.from_numpy(values.cpu().numpy(), schema=list(MEASURES))
        chances = [pl.lit(value).alias(name) for name, value in self.chance.items()]
        table = pl.concat((keys, measured), how="horizontal").with_columns(*chances)
        return TABLES["metrics"].conform(table).sort("seed", "epoch", "split")

"""The numbers of an evaluation: negative log-likelihoods and accuracy, per seed."""

from __future__ import annotations

import math

import polars as pl
import torch

from reversal_curse.models.likelihood import answer_nll
from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.tables import TABLES


class MetricsRecorder:
    """Collects evaluations and gives them as the `metrics` table."""

    def __init__(self, settings: Settings, seeds: list[int]):
        task = TASKS[settings.task]
        self.seeds = seeds
        self.chance_vocab = math.log(task.vocabulary(settings))
        self.chance_class = math.log(task.class_size(settings))
        self.frames: list[pl.DataFrame] = []

    def record(self, epoch: int, split: str, logits: torch.Tensor, answers: torch.Tensor) -> None:
        """Note one evaluation from `logits` (S, B, k, vocabulary) and `answers` (S, B, k)."""
        nll = answer_nll(logits, answers).double()
        right = (logits.max(-1).indices == answers).all(-1).double()
        self.frames.append(
            pl.DataFrame(
                {
                    "seed": self.seeds,
                    "epoch": epoch,
                    "split": split,
                    "nll_token": nll[..., 0].mean(1).tolist(),
                    "nll_word": nll.sum(-1).mean(1).tolist(),
                    "accuracy": right.mean(1).tolist(),
                    "chance_vocab": self.chance_vocab,
                    "chance_class": self.chance_class,
                }
            )
        )

    def last_line(self, splits: int) -> str:
        """The last `splits` evaluations as a line for the log: means over the seeds."""
        return "; ".join(
            f"{frame['split'][0]} NLL {frame['nll_token'].mean():.3f} nats, "
            f"accuracy {frame['accuracy'].mean():.2f}"
            for frame in self.frames[-splits:]
        )

    def table(self) -> pl.DataFrame:
        """Everything recorded, sorted by seed, epoch and split."""
        table = TABLES["metrics"].conform(pl.concat(self.frames))
        return table.sort("seed", "epoch", "split")

"""Train the seeds of a `bilinear` grid point: full-batch gradient descent, near the flow."""

from __future__ import annotations

import polars as pl
import torch

from reversal_curse.models.bilinear import Bilinear
from reversal_curse.randomness import seed_generators
from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.tables import TABLES
from reversal_curse.tasks.dataset import Dataset
from reversal_curse.training.metrics import MetricsRecorder, answer_nll
from reversal_curse.training.schedule import EvaluationSchedule, dense_epochs


def train(settings: Settings, dataset: Dataset, device: torch.device) -> dict[str, pl.DataFrame]:
    """Train every seed; returns the tables `metrics` and `separation`.

    A fact is (first entity, last entity); the relation plays no part, since the two
    directions of a pair have different subjects. `separation` follows each validation
    pair: the loss of the direction that is trained against that of the one held out,
    as in the theorems of Zhu et al. 2024, section 3; it is read at `dense_epochs`.
    """
    vocabulary = settings.vocab_size + TASKS[settings.task].relations(settings)
    generators = seed_generators(dataset.seeds, "init")
    model = Bilinear(vocabulary, settings.embed_dim, settings.init_std, generators).to(device)
    splits = {
        name: _facts(dataset, device, pl.col("split") == name) for name in ("train", "unseen")
    }
    validation = pl.col("pair_split") == "validation"
    forward = _facts(dataset, device, validation, pl.col("split") == "train")
    pairs = dataset.table.filter(validation, pl.col("split") == "unseen").select("seed", "pair")
    recorder = MetricsRecorder(settings, dataset.seeds)
    schedule = EvaluationSchedule(settings.epochs, settings.eval_every)
    dense = dense_epochs(settings.epochs)
    separation = []

    for epoch in range(settings.epochs + 1):
        if epoch in dense:
            losses = {
                "nll_forward": _fact_nll(model, *forward),
                "nll_reverse": _fact_nll(model, *splits["unseen"]),
            }
            separation.append(
                pairs.with_columns(
                    pl.lit(epoch).alias("epoch"),
                    *(pl.Series(name, nll.flatten().tolist()) for name, nll in losses.items()),
                )
            )
        if schedule.due(epoch):
            for split, (subjects, objects) in splits.items():
                logits = model.logits(subjects)[:, :, None]
                recorder.record(epoch, split, logits, objects[..., None])
            schedule.report(epoch, recorder.last_line(len(splits)))
        if epoch < settings.epochs:
            model.theta -= settings.learning_rate * model.gradient(*splits["train"])

    table = TABLES["separation"].conform(pl.concat(separation))
    return {"metrics": recorder.table(), "separation": table.sort("seed", "pair", "epoch")}


def _facts(
    dataset: Dataset, device: torch.device, *conditions: pl.Expr
) -> tuple[torch.Tensor, torch.Tensor]:
    """Subjects and objects, each of shape (S, N), of the sentences that meet `conditions`."""
    tokens = torch.from_numpy(dataset.tokens(*conditions)).to(device)
    return tokens[:, :, 0], tokens[:, :, -1]


def _fact_nll(model: Bilinear, subjects: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
    """-ln p of each fact, shape (S, N)."""
    return answer_nll(model.logits(subjects)[:, :, None], objects[..., None])[..., 0]

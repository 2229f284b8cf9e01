"""Train the seeds of a `one_layer` grid point: gradient descent from zero.

Zhu et al. 2024, section 4. An epoch is one step on the sum of all sentences' losses. If no two of
them share a row of Y, as in reversal with one-token entities, this equals one step per sentence.
"""

import polars as pl
import torch

from reversal_curse.config.settings import Settings
from reversal_curse.models.learner import Learner
from reversal_curse.models.losses import LOSSES
from reversal_curse.models.one_layer import OneLayer
from reversal_curse.models.random_streams import seed_generators
from reversal_curse.tables.dataset import Dataset
from reversal_curse.tasks import TASKS
from reversal_curse.training.loop import Training


def start(settings: Settings, dataset: Dataset, device: torch.device) -> Training:
    """Start an untrained run of every seed of a grid point."""
    task = TASKS[settings.task]
    generators = seed_generators(dataset.seeds, "init") if settings.factorised else None
    model = OneLayer(len(dataset.seeds), task.vocabulary(settings), device, generators)
    answer = task.answer_length(settings)
    loss = LOSSES[settings.loss]

    def ask(sentences: torch.Tensor) -> torch.Tensor:
        return model.logits(sentences, answer)

    learner = Learner(settings, dataset, device, model, ask)
    sentences = learner.sentences(pl.col("split") == "train")

    def epoch() -> None:
        total = loss(ask(sentences), sentences[:, :, -answer:]).sum()
        *grad_y, grad_z = torch.autograd.grad(total, (*model.factors, model.z))
        with torch.no_grad():
            for factor, gradient in zip(model.factors, grad_y, strict=True):
                factor.sub_(gradient, alpha=settings.learning_rate)
            model.z.sub_(grad_z, alpha=settings.learning_rate_z)

    factors = {f"y{place}": factor for place, factor in enumerate(model.factors)}
    return Training(learner, epoch, {**factors, "z": model.z})

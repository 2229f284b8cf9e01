"""Train the seeds of a `bilinear` grid point: full-batch gradient descent, near gradient flow."""

import polars as pl
import torch

from reversal_curse.config.settings import Settings
from reversal_curse.models.bilinear import Bilinear
from reversal_curse.models.learner import Learner
from reversal_curse.models.losses import LOSSES
from reversal_curse.models.random_streams import seed_generators
from reversal_curse.tables.dataset import Dataset
from reversal_curse.tasks import TASKS
from reversal_curse.training.loop import Training


def start(settings: Settings, dataset: Dataset, device: torch.device) -> Training:
    """Start an untrained run; a fact is (first entity, last entity), without the relation."""
    vocabulary = TASKS[settings.task].vocabulary(settings)
    generators = seed_generators(dataset.seeds, "init")
    model = Bilinear(vocabulary, settings.embed_dim, settings.init_std, generators, device)
    loss = LOSSES[settings.loss]

    def ask(sentences: torch.Tensor) -> torch.Tensor:
        return model.logits(sentences[:, :, 0])[:, :, None]

    learner = Learner(settings, dataset, device, model, ask)
    sentences = learner.sentences(pl.col("split") == "train")

    def epoch() -> None:
        total = loss(ask(sentences), sentences[:, :, -1:]).mean((1, 2)).sum()
        (gradient,) = torch.autograd.grad(total, model.theta)
        with torch.no_grad():
            model.theta.sub_(gradient, alpha=settings.learning_rate)

    return Training(learner, epoch, {"theta": model.theta})

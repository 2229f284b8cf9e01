"""Train the seeds of a `gpt` grid point: next-token prediction. Zhu et al. 2024, section 5."""

import torch

from reversal_curse.config.settings import Settings
from reversal_curse.models.learner import Learner
from reversal_curse.models.likelihood import answer_nll
from reversal_curse.models.random_streams import seed_generators
from reversal_curse.models.transformer import Noise, Transformer
from reversal_curse.tables.dataset import Dataset
from reversal_curse.tasks import TASKS
from reversal_curse.training.loop import Training
from reversal_curse.training.minibatches import minibatches


def build_model(settings: Settings, dataset: Dataset, device: torch.device) -> Transformer:
    """Draw the models of all seeds on the CPU, so that they are the same on every device."""
    vocabulary = TASKS[settings.task].vocabulary(settings)
    generators = seed_generators(dataset.seeds, "init")
    length = dataset.length - 1  # the last token is only ever predicted
    return Transformer(settings, vocabulary, length, generators, causal=True).to(device)


def start(settings: Settings, dataset: Dataset, device: torch.device) -> Training:
    """Start an untrained run of every seed of a grid point."""
    model = build_model(settings, dataset, device)
    answer = TASKS[settings.task].answer_length(settings)
    trained = answer if settings.loss_on == "answer" else dataset.length - 1

    def loss(sentences: torch.Tensor, dropout: Noise) -> torch.Tensor:
        logits = model(sentences[:, :, :-1], trained, dropout)
        return answer_nll(logits, sentences[:, :, -trained:]).mean((1, 2))

    def ask(sentences: torch.Tensor) -> torch.Tensor:
        return model(sentences[:, :, :-1], answer)

    return minibatches(Learner(settings, dataset, device, model, ask), loss)

"""AdamW on shuffled batches, for every family of transformers; all seeds are one batch.

The seeds' losses are summed, so that each seed's gradient, and AdamW's elementwise
update, are those of training it alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from reversal_curse.models.transformer import Noise, Transformer
from reversal_curse.randomness import Dropout, no_dropout, seed_generators, stacked_permutations
from reversal_curse.settings import Settings
from reversal_curse.tasks.dataset import Dataset
from reversal_curse.training.schedule import EvaluationSchedule

Loss = Callable[[torch.Tensor, Noise], torch.Tensor]
"""Maps sentences (S, B, T) and a dropout to the loss of each seed, shape (S,)."""


def split_tensors(dataset: Dataset, device: torch.device) -> dict[str, torch.Tensor]:
    """Token ids (S, N, T) of both splits on `device`."""
    return {name: torch.from_numpy(dataset.split(name)).to(device) for name in ("train", "unseen")}


def train_batches(
    model: Transformer,
    settings: Settings,
    dataset: Dataset,
    loss: Loss,
    evaluate: Callable[[int], str],
    device: torch.device,
) -> None:
    """Train `model` in place on the training sentences of all seeds.

    `evaluate(epoch)` is called before training, at every evaluation and after the last
    epoch; it returns a line for the log.
    """
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    order = seed_generators(dataset.seeds, "order")
    dropout = no_dropout
    if settings.dropout:
        dropout = Dropout(seed_generators(dataset.seeds, "dropout", device), settings.dropout)
    sentences = torch.from_numpy(dataset.split("train")).to(device)
    schedule = EvaluationSchedule(settings.epochs, settings.eval_every)
    for epoch in range(settings.epochs + 1):
        if schedule.due(epoch):
            with torch.no_grad():
                schedule.report(epoch, evaluate(epoch))
        if epoch == settings.epochs:
            return
        permutation = stacked_permutations(order, sentences.shape[1]).to(device)
        for chosen in permutation.split(settings.batch_size, dim=1):
            batch = sentences.gather(1, chosen[..., None].expand(-1, -1, dataset.length))
            optimizer.zero_grad()
            loss(batch, dropout).sum().backward()
            optimizer.step()
